"""PRECISIONS, one row each: a new precision is a new row."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from trtzoo.core.errors import UsageError, find_row


class Precision(msgspec.Struct, frozen=True):
    """A number format. `graph` is the type of weights and activations in the ONNX file.

    `tolerance` bounds max|logit - reference| / max|reference| against float64.
    """

    name: str
    graph: Literal["fp32", "fp16"]
    tf32: bool
    tolerance: float


# Tolerances against float64. Measured over the ten networks (docs/benchmarks.md): fp32 within 1e-6, fp16 within 6e-3 of
# max|logit|; TF32 keeps FP16's ten bits of mantissa, so it shares FP16's bound.
PRECISIONS: dict[str, Precision] = {
    row.name: row
    for row in (
        Precision("fp32", graph="fp32", tf32=False, tolerance=2e-5),
        Precision("tf32", graph="fp32", tf32=True, tolerance=2e-2),
        Precision("fp16", graph="fp16", tf32=False, tolerance=2e-2),
    )
}


def find_precision(name: str) -> Precision:
    """The precision called `name`, in any case. Raises UsageError if there is none."""
    return find_row("precision", name, PRECISIONS)


def check_tf32(names: Iterable[str], gpu: str, sm: int) -> None:
    """Raise UsageError for TF32 on a GPU without it: it would compute FP32 under another name."""
    if sm < 80 and any(PRECISIONS[name].tf32 for name in names):
        raise UsageError(f"{gpu} (SM{sm}) has no TF32; it came with SM80. Say --precision fp32")
