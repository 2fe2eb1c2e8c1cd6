"""Operations that move values and compute none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from trtzoo.core.errors import ExportError
from trtzoo.exporter.layers import pooled
from trtzoo.exporter.onnx_writer import INPUT, OnnxGraph
from trtzoo.exporter.tracing import Constant
from trtzoo.exporter.values import Value, integers, lengths, reshape, shape, tensor

aten = torch.ops.aten
FOREVER = (1 << 63) - 1  # Slice's end


def reshaped(graph: OnnxGraph, node: fx.Node, features: str, *arguments: Any, **named: Any) -> str:
    """A new shape, whose only length that is not fixed contains the batch."""
    source, result = shape(node), node.meta["shape"]
    if source == result or pooled(node):
        return features
    if len(result) == 2 and source[0] == result[0]:
        return graph.node("Flatten", node.name, features, axis=1)
    return reshape(graph, node, node.name, features, result)


def permuted(graph: OnnxGraph, node: fx.Node, features: str, order: Sequence[int]) -> str:
    rank = len(shape(node))
    places = [place % rank for place in order]
    return features if places == list(range(rank)) else graph.node("Transpose", node.name, features, perm=places)


def transposed(graph: OnnxGraph, node: fx.Node, features: str, first: int = 0, second: int = 1) -> str:
    order = list(range(len(shape(node))))
    order[first], order[second] = order[second], order[first]
    return permuted(graph, node, features, order)


def concatenated(graph: OnnxGraph, node: fx.Node, parts: Sequence[Value], dim: int = 0) -> str:
    names = [_whole(graph, node, part, place) for place, part in enumerate(parts)]
    return graph.node("Concat", node.name, *names, axis=dim) if len(names) > 1 else names[0]


def stacked(graph: OnnxGraph, node: fx.Node, parts: Sequence[Value], dim: int = 0) -> str:
    axis = dim % len(node.meta["shape"])
    names = [_whole(graph, node, part, place) for place, part in enumerate(parts)]
    axes = integers(graph, [axis])
    rows = [graph.node("Unsqueeze", f"{node.name}.{place}", name, axes) for place, name in enumerate(names)]
    return graph.node("Concat", node.name, *rows, axis=axis)


def _whole(graph: OnnxGraph, node: fx.Node, part: Value, place: int) -> str:
    """A value, or a constant as often as there are images."""
    name = tensor(graph, node, part, f"part{place}")
    if not isinstance(part, Constant) or not part.batched:
        return name
    base = f"{node.name}.part{place}"
    batch = graph.node("Gather", f"{base}.batch", graph.node("Shape", f"{base}.shape", INPUT), integers(graph, [0]))
    sizes = graph.node("Concat", f"{base}.sizes", batch, integers(graph, part.values.shape[1:]), axis=0)
    return graph.node("Expand", f"{base}.expanded", name, sizes)


def parts(graph: OnnxGraph, node: fx.Node, whole: Value, sizes: Any, dim: int = 0) -> tuple[str, ...]:
    """Split, unless the convolution before it already gives the parts."""
    if isinstance(whole, tuple):
        return whole
    sizes = lengths(node, [result[dim] for result in node.meta["shape"]])
    names = tuple(f"{node.name}_{index}" for index in range(len(sizes)))
    graph.node("Split", node.name, whole, integers(graph, sizes), outputs=names, axis=dim)
    return names


def unbound(graph: OnnxGraph, node: fx.Node, whole: str, dim: int = 0) -> tuple[str, ...]:
    return tuple(
        graph.node("Gather", f"{node.name}.{index}", whole, integers(graph, index), axis=dim)
        for index in range(len(node.meta["shape"]))
    )


def selected(graph: OnnxGraph, node: fx.Node, features: str, dim: int, index: int) -> str:
    length = shape(node)[dim]
    return graph.node("Gather", node.name, features, integers(graph, index % length), axis=dim)


def sliced(
    graph: OnnxGraph,
    node: fx.Node,
    features: str,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> str:
    if shape(node) == node.meta["shape"]:
        return features
    limit = FOREVER if end is None else end
    return _slice(graph, node.name, features, dim, start or 0, limit, step=step)


def _slice(graph: OnnxGraph, name: str, features: str, dim: int, start: int, end: int, *, step: int = 1) -> str:
    limits = [integers(graph, [value]) for value in (start, end, dim, step)]
    return graph.node("Slice", name, features, *limits)


def rolled(graph: OnnxGraph, node: fx.Node, features: str, shifts: Any, dims: Any = ()) -> str:
    pairs = list(zip(_list(shifts), _list(dims), strict=True))
    pairs = [(shift % shape(node)[dim], dim) for shift, dim in pairs]
    pairs = [(shift, dim) for shift, dim in pairs if shift]
    for place, (shift, dim) in enumerate(pairs):
        name = f"{node.name}.{place}"
        tail = _slice(graph, f"{name}.tail", features, dim, -shift, FOREVER)
        head = _slice(graph, f"{name}.head", features, dim, 0, -shift)
        features = graph.node("Concat", name, tail, head, axis=dim)
    return features


def flipped(graph: OnnxGraph, node: fx.Node, features: str, dims: Sequence[int]) -> str:
    for dim in dims:
        features = _slice(graph, f"{node.name}.{dim % len(shape(node))}", features, dim, -1, -FOREVER, step=-1)
    return features


def expanded(graph: OnnxGraph, node: fx.Node, features: str, *arguments: Any, **named: Any) -> str:
    """Repetition along dimensions of 1; ONNX's Expand keeps a dimension whose wanted length is 1."""
    result = node.meta["shape"]
    source = (1,) * (len(result) - len(shape(node))) + shape(node)
    wanted = [1 if have == length else length for have, length in zip(source, result, strict=True)]
    if set(wanted) == {1} and len(source) == len(shape(node)):
        return features
    if -1 in lengths(node, wanted):
        raise ExportError(f"{node.name} repeats a value as often as there are images")
    return graph.node("Expand", node.name, features, integers(graph, wanted))


def tiled(graph: OnnxGraph, node: fx.Node, features: str, repeats: Sequence[int]) -> str:
    if len(repeats) > len(shape(node)):
        features = reshape(graph, node, f"{node.name}.rank", features, [1] * (len(repeats) - len(shape(node))) + [*shape(node)])
    return graph.node("Tile", node.name, features, integers(graph, list(repeats)))


def indexed(graph: OnnxGraph, node: fx.Node, features: str, indices: Sequence[Value]) -> str:
    """Gather along one dimension by constant indices."""
    chosen = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(chosen) != 1 or not isinstance(chosen[0][1], Constant) or chosen[0][1].values.dtype.kind != "i":
        raise ExportError(f"{node.name} indexes several dimensions, or by values of the images")
    dim, index = chosen[0]
    return graph.node("Gather", node.name, features, tensor(graph, node, index, "index"), axis=dim)


def index_selected(graph: OnnxGraph, node: fx.Node, features: str, dim: int, index: Constant) -> str:
    return indexed(graph, node, features, [None] * (dim % len(shape(node))) + [index])


def unfolded(graph: OnnxGraph, node: fx.Node, features: str, dim: int, size: int, step: int) -> str:
    """Windows along a dimension; what is in a window becomes the last dimension."""
    rank = len(shape(node))
    axis = dim % rank
    windows = np.arange(node.meta["shape"][axis])[:, None] * step + np.arange(size)
    names = graph.weight(f"{node.name}.windows", windows)
    gathered = graph.node("Gather", f"{node.name}.gathered", features, names, axis=axis)
    order = [place for place in range(rank + 1) if place != axis + 1]
    return graph.node("Transpose", node.name, gathered, perm=[*order, axis + 1])


def resized(mode: str) -> Any:
    """An interpolation to a fixed size."""

    def row(graph: OnnxGraph, node: fx.Node, features: str, size: Any, *arguments: Any) -> str:
        sides, wanted = shape(node)[2:], node.meta["shape"][2:]
        if sides == wanted:
            return features
        aligned = mode != "nearest" and bool(arguments and arguments[0])
        scales = [1.0, 1.0, *(_ratio(length, side) for length, side in zip(wanted, sides, strict=True))]
        place = "asymmetric" if mode == "nearest" else "align_corners" if aligned else "half_pixel"
        more: dict[str, Any] = {"nearest_mode": "floor"} if mode == "nearest" else {}
        if mode == "cubic":
            more["cubic_coeff_a"] = -0.75
        factors = graph.weight(f"{node.name}.scales", np.array(scales, np.float32), precision="fp32")
        return graph.node("Resize", node.name, features, "", factors, mode=mode, coordinate_transformation_mode=place, **more)

    return row


def _ratio(length: int, side: int) -> float:
    """A float32 factor that gives `length` when it is multiplied by `side` and rounded down."""
    ratio = np.float32(length / side)
    return float(ratio if int(float(ratio) * side) == length else np.nextafter(ratio, np.float32(np.inf)))


def _list(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


_RESHAPES = (aten.view, aten.reshape, aten._unsafe_view, aten.flatten, aten.unflatten, aten.unsqueeze, aten.squeeze)
ROWS: dict[Any, Any] = {
    **dict.fromkeys((*_RESHAPES, aten.reshape_as, aten.view_as), reshaped),
    aten.permute: permuted,
    aten.transpose: transposed,
    aten.t: transposed,
    aten.cat: concatenated,
    aten.stack: stacked,
    aten.split: parts,
    aten.split_with_sizes: parts,
    aten.chunk: parts,
    aten.unbind: unbound,
    aten.select: selected,
    aten.slice: sliced,
    aten.roll: rolled,
    aten.flip: flipped,
    aten.expand: expanded,
    aten.expand_as: expanded,
    aten.repeat: tiled,
    aten.index: indexed,
    aten.index_select: index_selected,
    aten.unfold: unfolded,
    aten.upsample_nearest2d: resized("nearest"),
    aten.upsample_bilinear2d: resized("linear"),
    aten.upsample_bicubic2d: resized("cubic"),
}
