"""Quantizes a graph to INT8 or FP8 by explicit Q/DQ nodes: which tensors, by the rules below, and with which scales.

convolutions  All but the stem's and the classifier's: each has its weights quantized, one scale per output channel, and its
              input, too. BN is folded into them before. Bias and the nodes between stay in floating point. In FP8 TensorRT
              has no fast kernels for grouped convolutions, nor for channels that are not a multiple of 16: those stay FP16.
processors    What additions and concatenations take from a convolution is quantized, because ONNX Runtime computes a
              convolution in integers only if its result is quantized, too. The sums, and what is joined, stay in floating
              point: rounding them to bytes costs accuracy and saves no time.
GPUs          A concatenation's parts and its result are quantized, so that it moves bytes. Parts that meet in one
              concatenation, or in nested ones, share a scale, and then joining them rounds nothing. If their ranges differ
              more than SHARED times, each has its own, and the concatenation joins floating-point values.
              TensorRT fuses an addition into the convolution of its branch if the other input, the path that goes round, is
              quantized and the branch is not.
scales        Symmetric: zero stays zero. A scale has eight significant bits, so it is the same number in FP16, and the same on
              every machine. Processors take values that are never negative as UINT8, which has twice as many levels for them
              and makes ReLU free; TensorRT takes INT8 only. FP8 is E4M3: its largest value is 448.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import msgspec
import numpy as np
import onnx

from trtzoo.artifacts.blocks import node_blocks
from trtzoo.artifacts.graphs import Calibration, Quantization
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import LARGEST, TYPES, OnnxGraph, Weight

SHARED = 2  # a part of the smallest range keeps seven of its eight bits
LEVELS, UNSIGNED_LEVELS = 127, 255
MULTIPLE = 16  # of channels, for TensorRT's convolutions in FP8
GROUPED, ODD = "grouped", f"with channels that are not a multiple of {MULTIPLE}"
KEEPS_SIGN = ("AveragePool", "MaxPool")
POOLED = ("Cast", "Flatten", "GlobalAveragePool", "ReduceMean", "Reshape")  # what makes the stem's or a classifier's input


class Placement(msgspec.Struct, frozen=True):
    """The convolutions to quantize, by name, the tensors, and the family of each tensor that is in a concatenation.

    `unfit` counts the convolutions that the type cannot have, by reason.
    """

    convolutions: frozenset[str]
    tensors: tuple[str, ...]
    families: dict[str, str]
    unfit: dict[str, int] = {}


def place(graph: OnnxGraph, *, gpu: bool, kept: Collection[str] = ()) -> Placement:
    """Choose what to quantize in a graph of floating-point nodes. The nodes of the blocks `kept` ask for nothing."""
    producers = {name: node for node in graph.nodes for name in node.output}
    convolutions, tensors, parents, unfit = set[str](), dict[str, None](), dict[str, str](), Counter[str]()

    def is_branch(name: str) -> bool:
        """Whether a quantized convolution makes it."""
        return name in producers and producers[name].name in convolutions

    for node, block in zip(graph.nodes, node_blocks(graph.nodes), strict=True):
        if block in kept:
            continue
        if node.op_type == "Conv" and _is_inner(producers.get(node.input[0])):
            if reason := _unfit(graph, node):
                unfit[reason] += 1
                continue
            convolutions.add(node.name)
            tensors[node.input[0]] = None
        elif node.op_type in ("Concat", "Add") and not gpu:
            tensors |= dict.fromkeys(filter(is_branch, node.input))
        elif node.op_type == "Concat" and all(name in producers for name in node.input):
            for name in (*node.input, *node.output):
                tensors[name] = None
                parents[_family(name, parents)] = _family(node.output[0], parents)
        elif node.op_type == "Add" and (branches := list(filter(is_branch, node.input))):
            around = [name for name in node.input if name != branches[-1] and name in producers]
            tensors |= dict.fromkeys([*around, *(node.output if around else [])])
    families = {name: _family(name, parents) for name in parents}
    return Placement(frozenset(convolutions), tuple(tensors), families, dict(sorted(unfit.items())))


def _unfit(graph: OnnxGraph, node: onnx.NodeProto) -> str:
    """Why TensorRT has no kernel in the graph's quantized type for a convolution; empty if it has."""
    if graph.quantized != "fp8":
        return ""
    if any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute):
        return GROUPED
    return ODD if any(side % MULTIPLE for side in graph.weights[node.input[1]].values.shape[:2]) else ""


def to_calibrate(graph: OnnxGraph) -> tuple[str, ...]:
    """The tensors that are quantized for processors or for GPUs."""
    return tuple(dict.fromkeys((*place(graph, gpu=False).tensors, *place(graph, gpu=True).tensors)))


def _is_inner(producer: onnx.NodeProto | None) -> bool:
    """Whether a convolution of this node's result is neither the stem nor the classifier."""
    return producer is not None and producer.op_type not in POOLED


def _family(name: str, parents: dict[str, str]) -> str:
    while parents.setdefault(name, name) != name:
        name = parents[name]
    return name


def quantize(
    graph: OnnxGraph,
    ranges: Mapping[str, float],
    calibration: Calibration,
    *,
    kept: Collection[str] = (),
    unreadable: int = 0,
) -> Quantization:
    """Quantize a graph in place: for GPUs if it is FP16. `ranges` has the range of each tensor that `to_calibrate` names.

    Raises ExportError for a range that is 0 or not finite, and for a graph without a convolution to quantize.
    """
    gpu, nodes = graph.precision == "fp16", graph.nodes
    placement = place(graph, gpu=gpu, kept=kept)
    if not placement.convolutions and not kept:
        raise ExportError(
            f"{graph.name} has no convolution that can be {graph.quantized.upper()}, and nothing else is quantized. "
            "Export it with --precision fp16"
        )
    unsigned = set() if gpu else never_negative(nodes)
    scales = activation_scales(nodes, placement, ranges, unsigned, levels=_levels(graph))
    graph.nodes, dequantized = [], dict[str, str]()
    for node in nodes:
        inputs = [dequantized.get(name, name) for name in node.input]
        if node.name in placement.convolutions:
            inputs[1] = _quantized_weight(graph, node.input[1])
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        graph.nodes.append(copy)
        for name in node.output:
            if name in scales:
                kind = "uint8" if name in unsigned else graph.quantized
                parameters = graph.weight(f"{name}.scale", np.array(scales[name])), _zeros(graph, name, kind)
                quantized = graph.node("QuantizeLinear", f"{name}.quantized", name, *parameters)
                dequantized[name] = graph.node("DequantizeLinear", f"{name}.dequantized", quantized, *parameters)
    return Quantization(
        calibration=calibration,
        scales=scales,
        convolutions=len(placement.convolutions),
        all_convolutions=sum(node.op_type == "Conv" for node in nodes),
        unfit=placement.unfit,
        kept=tuple(sorted(kept)),
        unreadable=unreadable,
    )


def activation_scales(
    nodes: list[onnx.NodeProto],
    placement: Placement,
    ranges: Mapping[str, float],
    unsigned: Collection[str] = (),
    *,
    levels: float = LEVELS,
) -> dict[str, float]:
    """The scale of each tensor that is quantized: a family's own, if its ranges allow it, or else each tensor's.

    `levels` is the largest value of the type that has a sign.
    """
    families: dict[str, list[str]] = {}
    for name in placement.tensors:
        if not 0 < ranges[name] < float("inf"):
            raise ExportError(
                f"{name} is {ranges[name]:g} on all calibration images, so it has no scale. Calibrate with other images"
            )
        families.setdefault(placement.families.get(name, name), []).append(name)
    joined = {name for node in nodes if node.op_type == "Concat" for name in node.output}
    scales = {}
    for members in families.values():
        largest = max(ranges[name] for name in members)
        shares = largest <= SHARED * min(ranges[name] for name in members)
        signed = any(name not in unsigned for name in members)
        for name in members:
            if len(members) == 1 or shares:
                scales[name] = round_up(largest / (levels if signed else UNSIGNED_LEVELS))
            elif name not in joined:
                scales[name] = round_up(ranges[name] / (UNSIGNED_LEVELS if name in unsigned else levels))
    return {name: scales[name] for name in placement.tensors if name in scales}


def round_up(value: float) -> float:
    """The next number of eight significant bits that FP16 has; below FP16's normal numbers it has fewer."""
    return float(_round_up(np.array(value)))


def _round_up(values: Array) -> Array:
    step = np.exp2(np.maximum(np.frexp(values)[1] - 8, -24))
    return np.asarray(np.ceil(values / step) * step)


def never_negative(nodes: list[onnx.NodeProto]) -> set[str]:
    """The tensors that ReLU made, or pooling of such."""
    found: set[str] = set()
    for node in nodes:
        if node.op_type == "Relu" or (node.op_type in KEEPS_SIGN and node.input[0] in found):
            found.update(node.output)
    return found


def _levels(graph: OnnxGraph) -> float:
    return LARGEST[graph.quantized]


def _quantized_weight(graph: OnnxGraph, name: str) -> str:
    """Quantize a weight, with one scale per output channel, and return the name of its dequantized value."""
    weight = graph.weights[name]
    largest = np.abs(weight.values).reshape(len(weight.values), -1).max(axis=1).astype(np.float64)
    factors = np.ones(len(largest)) if weight.scale is None else weight.scale
    scales = np.where(largest * factors == 0, 1.0, _round_up(largest * np.abs(factors) / _levels(graph)))
    graph.weights[name] = Weight(name, TYPES[graph.quantized], weight.values, factors / scales)
    parameters = graph.weight(f"{name}.scale", scales), _zeros(graph, name, graph.quantized, len(scales))
    return graph.node("DequantizeLinear", f"{name}.dequantized", name, *parameters, axis=0)


def _zeros(graph: OnnxGraph, tensor: str, kind: str, *shape: int) -> str:
    """A tensor's zero point, which also says its type. None is shared: ONNX Runtime cannot replace a shared one."""
    name = f"{tensor}.zero"
    graph.weights[name] = Weight(name, TYPES[kind], np.zeros(shape))
    return name
