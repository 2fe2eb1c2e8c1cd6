"""PRECISIONS, one table of precisions.toml each: a new precision is a new table. GRAPHS are the kinds of ONNX files."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from trtzoo.core.errors import UsageError, find_row
from trtzoo.core.modules import read_rows


class Graph(msgspec.Struct, frozen=True):
    """A kind of ONNX file: the type of its floating-point tensors, and the type to which Q/DQ nodes quantize the others."""

    floats: Literal["fp32", "fp16", "bf16"]
    quantized: Literal["", "int8", "fp8"] = ""
    opset: int = 13  # at least; QuantizeLinear takes FP8, and scales in FP16, from 19 on, convolutions take BF16 from 22 on


GRAPHS = {
    "fp32": Graph("fp32"),
    "fp16": Graph("fp16"),
    "bf16": Graph("bf16", opset=22),
    "int8": Graph("fp32", "int8"),
    "int8-fp16": Graph("fp16", "int8", opset=19),
    "fp8": Graph("fp16", "fp8", opset=19),
}


class Precision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number format. `graph` is the kind of its ONNX file, in GRAPHS; `engine_graph` is what TensorRT takes, if another.

    `tolerance` bounds max|logit - reference| / max|reference| against float64; `winograd_tolerance` does where a runtime's
    kernels may compute 3x3 convolutions by Winograd's algorithm (None: the same). `least_cosine` bounds the cosine of an
    image's logits and the reference's: quantized precisions have it, and are judged by classes (verification/tolerances.py).
    GPUs have the type from compute capability `sm` / 10 on, and older ones could use `instead`; `tensorrt` is the first
    TensorRT that builds it.
    """

    name: str
    graph: str
    tolerance: float
    engine_graph: str = ""
    winograd_tolerance: float | None = None
    least_cosine: float | None = None
    tf32: bool = False
    sm: int = 0
    instead: str = ""
    tensorrt: str = "8.6"

    @property
    def graphs(self) -> list[str]:
        """The kinds of ONNX files that an export writes."""
        return list(filter(None, (self.graph, self.engine_graph)))

    @property
    def quantized(self) -> bool:
        return bool(GRAPHS[self.graph].quantized)


PRECISIONS = read_rows("trtzoo.core", "precisions.toml", Precision)


def find_precision(name: str) -> Precision:
    """The precision called `name`, in any case. Raises UsageError if there is none."""
    return find_row("precision", name, PRECISIONS)


def precision_of(graph: str) -> str:
    """The precision of an ONNX file of this kind: the first one that uses it."""
    return next((row.name for row in PRECISIONS.values() if graph in row.graphs), graph)


def check_gpu(names: Iterable[str], gpu: str, sm: int) -> None:
    """Raise UsageError for a precision that a GPU does not have: TF32 would compute FP32 under another name."""
    for row in (PRECISIONS[name] for name in names):
        if sm < row.sm:
            raise UsageError(
                f"{gpu} (SM{sm}) has no {row.name.upper()}; it came with SM{row.sm}. Say --precision {row.instead}"
            )
