"""The engine inspector's JSON: which layers of a built engine give which type."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from trtzoo.errors import BuildError
from trtzoo.spec import LayerTypes

_TYPES = re.compile(r"\b(FP32|FP16|BF16|INT8|FP8|INT4|FP4|Float|Half|BFloat16|Int8)\b")
_NAMES = {"Float": "FP32", "Half": "FP16", "BFloat16": "BF16", "Int8": "INT8"}
_COMPUTE = re.compile(r"conv|gemm|matmul|matrixmultiply|fullyconnected", re.IGNORECASE)


def layer_types(text: str) -> LayerTypes:
    """Counts per floating type from `get_engine_information(JSON)` of a detailed engine.

    A layer's type is its first output's ("Row major linear FP16 format", "Half"). Raises BuildError where the text names no
    types, as that of an engine built without detailed profiling.
    """
    types: Counter[str] = Counter()
    compute: Counter[str] = Counter()
    for layer in _layers(text):
        outputs = layer.get("Outputs") or [{}]
        found = _TYPES.search(str(outputs[0].get("Format/Datatype") or outputs[0].get("Datatype") or ""))
        if found:
            kind = _NAMES.get(found[1], found[1])
            types[kind] += 1
            compute[kind] += bool(_COMPUTE.search(f"{layer.get('LayerType')} {layer.get('ParameterType')}"))
    if not types:
        raise BuildError("the engine inspector names no layer types, so the precision cannot be proved")
    return LayerTypes(source="inspector", types=dict(types), compute=dict(+compute))


def _layers(text: str) -> list[dict[str, Any]]:
    """The layers that are told in detail; those told by name alone are left out."""
    try:
        told = msgspec.json.decode(text).get("Layers", [])
    except (msgspec.DecodeError, AttributeError) as error:
        raise BuildError(f"the engine inspector's answer cannot be read: {error}") from error
    return [layer for layer in told if isinstance(layer, dict)]
