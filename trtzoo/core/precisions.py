"""PRECISIONS, one table of precisions.toml each: a new precision is a new table."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from trtzoo.core.errors import UsageError, find_row
from trtzoo.core.modules import read_rows


class Precision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number format. `graph` is the type of weights and activations in the ONNX file.

    `tolerance` bounds max|logit - reference| / max|reference| against float64; `winograd_tolerance` does where a runtime's
    kernels may compute 3x3 convolutions by Winograd's algorithm (None: the same).
    """

    name: str
    graph: Literal["fp32", "fp16"]
    tolerance: float
    winograd_tolerance: float | None = None
    tf32: bool = False


PRECISIONS = read_rows("trtzoo.core", "precisions.toml", Precision)


def find_precision(name: str) -> Precision:
    """The precision called `name`, in any case. Raises UsageError if there is none."""
    return find_row("precision", name, PRECISIONS)


def check_tf32(names: Iterable[str], gpu: str, sm: int) -> None:
    """Raise UsageError for TF32 on a GPU without it: it would compute FP32 under another name."""
    if sm < 80 and any(PRECISIONS[name].tf32 for name in names):
        raise UsageError(f"{gpu} (SM{sm}) has no TF32; it came with SM80. Say --precision fp32")
