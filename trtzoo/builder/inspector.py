"""The engine inspector's JSON: which layers of a built engine give which type."""

import re
from collections import Counter

import msgspec

from trtzoo.artifacts.engines import LayerTypes
from trtzoo.core.errors import BuildError

_TYPES = re.compile(r"\b(FP32|FP16|BF16|INT8|FP8|INT4|FP4|Float|Half|BFloat16|Int8)\b")
_NAMES = {"Float": "FP32", "Half": "FP16", "BFloat16": "BF16", "Int8": "INT8"}
_COMPUTE = re.compile(r"conv|gemm|matmul|matrixmultiply|fullyconnected", re.IGNORECASE)


class _Output(msgspec.Struct):
    """`format` is prose: "Row major linear FP16 format"."""

    format: str = msgspec.field(name="Format/Datatype", default="")


class _Layer(msgspec.Struct):
    kind: str = msgspec.field(name="LayerType", default="")
    parameters: str = msgspec.field(name="ParameterType", default="")
    outputs: list[_Output] = msgspec.field(name="Outputs", default=[])


class _Engine(msgspec.Struct):
    """A layer without details is its name alone."""

    layers: list[_Layer | str] = msgspec.field(name="Layers", default=[])


def layer_types(text: str) -> LayerTypes:
    """Counts per floating type from `get_engine_information(JSON)` of a detailed engine; a layer's type is its first output's.

    Raises BuildError where the text names no types, as that of an engine built without detailed profiling.
    """
    try:
        engine = msgspec.json.decode(text, type=_Engine)
    except msgspec.MsgspecError as error:
        raise BuildError(f"the engine inspector's answer cannot be read: {error}") from error
    types: Counter[str] = Counter()
    compute: Counter[str] = Counter()
    for layer in engine.layers:
        if isinstance(layer, _Layer) and layer.outputs and (found := _TYPES.search(layer.outputs[0].format)):
            kind = _NAMES.get(found[1], found[1])
            types[kind] += 1
            compute[kind] += bool(_COMPUTE.search(f"{layer.kind} {layer.parameters}"))
    if not types:
        raise BuildError("the engine inspector names no layer types, so the precision cannot be proved")
    return LayerTypes(source="inspector", types=dict(types), compute=dict(+compute))
