"""Proof of precision: in which types an engine, a network or a graph computes."""

import re
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from trtzoo.artifacts.engines import LayerTypes
from trtzoo.core.errors import BuildError
from trtzoo.core.precisions import PRECISIONS

TYPES = re.compile(r"\b(FP32|FP16|BF16|INT8|FP8|INT4|FP4|FLOAT|HALF|FLOAT16|BFLOAT16)\b", re.IGNORECASE)
NAMES = {"FLOAT": "FP32", "HALF": "FP16", "FLOAT16": "FP16", "BFLOAT16": "BF16"}
COMPUTE = re.compile(r"conv|gemm|matmul|matrix_?multiply|fully_?connected", re.IGNORECASE)


class _Output(msgspec.Struct):
    format: str = msgspec.field(name="Format/Datatype", default="")  # "Row major linear FP16 format"


class _Layer(msgspec.Struct):
    kind: str = msgspec.field(name="LayerType", default="")
    parameters: str = msgspec.field(name="ParameterType", default="")
    outputs: list[_Output] = msgspec.field(name="Outputs", default=[])


class _Engine(msgspec.Struct):
    layers: list[_Layer | str] = msgspec.field(name="Layers", default=[])  # one without details is a string, its name


def layer_types(text: str) -> LayerTypes:
    """Count the layers of each floating-point type in `get_engine_information(JSON)`; a layer's type is its first output's.

    Raises BuildError for invalid JSON, and where no layer has a type: the engine was built without detailed profiling.
    """
    try:
        engine = msgspec.json.decode(text, type=_Engine)
    except msgspec.MsgspecError as error:
        raise BuildError(f"the engine inspector's JSON is invalid: {error}") from error
    layers = [layer for layer in engine.layers if isinstance(layer, _Layer) and layer.outputs]
    found = count_types("inspector", [(f"{layer.kind} {layer.parameters}", layer.outputs[0].format) for layer in layers])
    if not found.types:
        raise BuildError("the engine inspector reports no layer types, so the precision cannot be verified")
    return found


def count_types(source: Literal["inspector", "network"], layers: list[tuple[str, str]]) -> LayerTypes:
    """Count layers by type; each is given as its kind and as text with its type: "Row major linear FP16 format"."""
    found = [(kind, match[1].upper()) for kind, text in layers if (match := TYPES.search(text))]
    types = [(kind, NAMES.get(name, name)) for kind, name in found]
    compute = Counter(name for kind, name in types if COMPUTE.search(kind))
    return LayerTypes(source=source, types=Counter(name for _, name in types), compute=compute)


def graph_types(onnx_file: Path) -> LayerTypes:
    """Count the convolutions and matrix products of an ONNX file by the type of their weights."""
    import onnx

    graph = onnx.load(onnx_file, load_external_data=False).graph
    weights = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    found = [(node.op_type, [weights[name] for name in node.input if name in weights]) for node in graph.node]
    return count_types("network", [(kind, types[0]) for kind, types in found if types and COMPUTE.search(kind)])


def check_precision(layers: LayerTypes, precision: str, *, name: str) -> None:
    """Raises BuildError unless convolutions and matrix products compute in the graph's type: 90 % for fp16, all for fp32.

    `name` is the graph's.
    """
    counts, wanted = layers.compute or layers.types, PRECISIONS[precision].graph
    total = sum(counts.values())
    if total and counts.get(wanted.upper(), 0) >= (0.9 if wanted == "fp16" else 1.0) * total:
        return
    found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no floating-point type"
    most = max(counts, key=lambda name: counts[name], default="fp32").lower()
    raise BuildError(
        f"{name} is not {wanted}: its layers compute in {found} (from the {layers.source}). "
        f"The graph decides the precision: export it as {wanted}, or use --precision {most}"
    )
