"""Reads the engine inspector's JSON: which layers of a built engine compute in which type."""

import re
from collections import Counter
from typing import Literal

import msgspec

from trtzoo.artifacts.engines import LayerTypes
from trtzoo.core.errors import BuildError

_TYPES = re.compile(r"\b(FP32|FP16|BF16|INT8|FP8|INT4|FP4|Float|Half|BFloat16|Int8)\b")
_NAMES = {"Float": "FP32", "Half": "FP16", "BFloat16": "BF16", "Int8": "INT8"}
_COMPUTE = re.compile(r"conv|gemm|matmul|matrixmultiply|fullyconnected", re.IGNORECASE)


class _Output(msgspec.Struct):
    """`format` is text: "Row major linear FP16 format"."""

    format: str = msgspec.field(name="Format/Datatype", default="")


class _Layer(msgspec.Struct):
    kind: str = msgspec.field(name="LayerType", default="")
    parameters: str = msgspec.field(name="ParameterType", default="")
    outputs: list[_Output] = msgspec.field(name="Outputs", default=[])


class _Engine(msgspec.Struct):
    """A layer without details is a plain string, its name."""

    layers: list[_Layer | str] = msgspec.field(name="Layers", default=[])


def layer_types(text: str) -> LayerTypes:
    """Count the layers of each floating-point type in `get_engine_information(JSON)`; a layer's type is its first output's.

    Raises BuildError for invalid JSON, and where no layer has a type: the engine was built without detailed profiling.
    """
    try:
        engine = msgspec.json.decode(text, type=_Engine)
    except msgspec.MsgspecError as error:
        raise BuildError(f"the engine inspector's JSON is invalid: {error}") from error
    outputs = [(layer, layer.outputs[0].format) for layer in engine.layers if isinstance(layer, _Layer) and layer.outputs]
    found = [(layer, match[1]) for layer, text in outputs if (match := _TYPES.search(text))]
    if not found:
        raise BuildError("the engine inspector reports no layer types, so the precision cannot be verified")
    types = [(_NAMES.get(name, name), bool(_COMPUTE.search(f"{layer.kind} {layer.parameters}"))) for layer, name in found]
    return count_types("inspector", types)


def count_types(source: Literal["inspector", "network"], layers: list[tuple[str, bool]]) -> LayerTypes:
    """Count layers by type; each is given as its type and whether it is a convolution or a matrix product."""
    types = Counter(name for name, _ in layers)
    return LayerTypes(source=source, types=types, compute=Counter(name for name, computes in layers if computes))
