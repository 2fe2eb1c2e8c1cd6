"""Proof of precision: in which types an engine, a network or a graph computes."""

import re
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from trtzoo.artifacts.engines import LayerTypes
from trtzoo.core.errors import BuildError
from trtzoo.core.precisions import GRAPHS, PRECISIONS

TYPES = re.compile(r"\b(FP32|FP16|BF16|INT8|FP8|INT4|FP4|FLOAT|HALF|FLOAT16|BFLOAT16|FLOAT8E4M3FN)\b", re.IGNORECASE)
NAMES = {"FLOAT": "FP32", "HALF": "FP16", "FLOAT16": "FP16", "BFLOAT16": "BF16", "FLOAT8E4M3FN": "FP8"}
SHARES = {"fp16": 0.9, "bf16": 0.9, "int8": 0.5, "fp8": 0.3}
"""The share of convolutions and matrix products that must compute in a type, if not all. Quantized graphs may keep blocks."""
COMPUTE = re.compile(r"conv|gemm|matmul|matrix_?multiply|fully_?connected", re.IGNORECASE)


class _Output(msgspec.Struct):
    format: str = msgspec.field(name="Format/Datatype", default="")  # "Row major linear FP16 format"


class _Layer(msgspec.Struct):
    inputs: list[_Output] = msgspec.field(name="Inputs", default=[])
    kind: str = msgspec.field(name="LayerType", default="")
    parameters: str = msgspec.field(name="ParameterType", default="")
    outputs: list[_Output] = msgspec.field(name="Outputs", default=[])


class _Engine(msgspec.Struct):
    layers: list[_Layer | str] = msgspec.field(name="Layers", default=[])  # one without details is a string, its name


def layer_types(text: str) -> LayerTypes:
    """Count the layers of each type in `get_engine_information(JSON)`: its first output's, or INT8 or FP8 if it reads that.

    Raises BuildError for invalid JSON, and where no layer has a type: the engine was built without detailed profiling.
    """
    try:
        engine = msgspec.json.decode(text, type=_Engine)
    except msgspec.MsgspecError as error:
        raise BuildError(f"the engine inspector's JSON is invalid: {error}") from error
    layers = [layer for layer in engine.layers if isinstance(layer, _Layer) and layer.outputs]
    found = count_types("inspector", [(f"{layer.kind} {layer.parameters}", _type_text(layer)) for layer in layers])
    if not found.types:
        raise BuildError("the engine inspector reports no layer types, so the precision cannot be verified")
    return found


def _type_text(layer: _Layer) -> str:
    """The format that has the type a layer computes in: convolutions of INT8 and FP8 may give values of another type."""
    first = layer.inputs[0].format if layer.inputs else ""
    return first if re.search(r"\b(int8|fp8)\b", first, re.IGNORECASE) else layer.outputs[0].format


def count_types(source: Literal["inspector", "network"], layers: list[tuple[str, str]]) -> LayerTypes:
    """Count layers by type; each is given as its kind and as text with its type: "Row major linear FP16 format"."""
    found = [(kind, match[1].upper()) for kind, text in layers if (match := TYPES.search(text))]
    types = [(kind, NAMES.get(name, name)) for kind, name in found]
    compute = Counter(name for kind, name in types if COMPUTE.search(kind))
    return LayerTypes(source=source, types=Counter(name for _, name in types), compute=compute)


def graph_types(onnx_file: Path) -> LayerTypes:
    """Count the convolutions and matrix products of an ONNX file by the type of their weights.

    One is INT8 or FP8 if its weights and its other input are dequantized from that: then TensorRT computes it so.
    """
    import onnx

    graph = onnx.load(onnx_file, load_external_data=False).graph
    kinds = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    integers: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            kinds[node.output[0]] = kinds.get(node.input[2], "INT8") if len(node.input) > 2 else "UINT8"
        elif node.op_type == "DequantizeLinear":
            integers[node.output[0]] = kinds.get(node.input[0], "INT8")
            kinds[node.output[0]] = kinds.get(node.input[1], "FLOAT")  # as its scale
    found = []
    for node in graph.node:
        if COMPUTE.search(node.op_type) and (known := [kinds[name] for name in node.input if name in kinds]):
            quantized = [integers[name] for name in node.input[:2] if name in integers]
            found.append((node.op_type, quantized[1] if len(quantized) == 2 else known[0]))
    return count_types("network", found)


def check_precision(layers: LayerTypes, precision: str, *, name: str) -> None:
    """Raises BuildError unless convolutions and matrix products compute in the precision's type: see SHARES.

    `name` is the graph's.
    """
    counts, row = layers.compute or layers.types, GRAPHS[PRECISIONS[precision].graph]
    wanted = row.quantized or row.floats
    total = sum(counts.values())
    if total and counts.get(wanted.upper(), 0) >= SHARES.get(wanted, 1.0) * total:
        return
    found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no floating-point type"
    most = max(counts, key=lambda name: counts[name], default="fp32").lower()
    raise BuildError(
        f"{name} is not {wanted}: its layers compute in {found} (from the {layers.source}). "
        f"The graph decides the precision: export it as {wanted}, or use --precision {most}"
    )
