"""Any ONNX graph evaluated in float64 on the processor: the reference for files that trtzoo did not export.

onnx's own evaluator knows every operation, in Python. The few that decide the time of a classifier, or that round to float32
there, are replaced here.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from scipy.special import erf

from trtzoo.core.arrays import Array

SINGLE = (TensorProto.FLOAT, TensorProto.FLOAT16)
DTYPES = {"to", "dtype", "output_datatype"}  # attributes that name a type


class Evaluation:
    """The graph of `model` in float64. `peaks` has the largest |value| of each tensor that was computed since it was made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._evaluator = _Evaluator(_doubled(model))
        self.peaks: dict[str, float] = {}

    def __call__(self, images: Array) -> Array:
        """Images (N, 3, H, W) of any floating type → logits of float64.

        Raises what onnx's evaluator raises for a graph that it does not know, and ValueError for an output in less precision.
        """
        with np.errstate(all="ignore"):
            logits = np.asarray(self._evaluator.evaluate(images.astype(np.float64), self.peaks))
        if logits.dtype != np.float64:
            raise ValueError(f"the output is {logits.dtype}")
        return logits


class _Evaluator(ReferenceEvaluator):
    """onnx's evaluator with our operations, also in the functions that it expands."""

    def __init__(self, proto: Any, **options: Any) -> None:
        super().__init__(proto, **options | {"new_ops": OPERATIONS})

    def evaluate(self, images: Array, peaks: dict[str, float]) -> Any:
        """The graph's output. A value is dropped after its last use."""
        (output,) = self.output_names
        (source,) = (name for name in self.input_names if name not in self.rt_inits_)
        values = {"": None, **self.rt_inits_, source: images}
        last = {name: index for index, node in enumerate(self.rt_nodes_) for name in _reads(node.onnx_node)}
        for index, node in enumerate(self.rt_nodes_):
            context = {"context": values} if node.need_context() else {}
            results = node.run(*(values[name] for name in node.input), **context)
            values.update(zip(node.output, results, strict=False))
            for name, value in zip(node.output, results, strict=False):
                if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.size:
                    peaks[name] = max(peaks.get(name, 0.0), float(np.abs(value).max()))
            for name in {*node.input, *node.output} - {"", output}:
                if last.get(name, -1) <= index:
                    values.pop(name, None)
        return values[output]


def _reads(node: Any) -> Iterable[str]:
    """The names that a node reads, in its subgraphs, too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (output.name for output in graph.output)


def _doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every float32 and float16 is a float64."""
    double = onnx.ModelProto(ir_version=model.ir_version)
    double.opset_import.extend(model.opset_import)
    double.graph.CopyFrom(model.graph)
    _double_graph(double.graph)
    return double


def _double_graph(graph: Any) -> None:
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in SINGLE:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _double_tensor(tensor)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.name in DTYPES and attribute.i in SINGLE:
            attribute.i = TensorProto.DOUBLE
        if attribute.name == "value_float":  # a Constant of this form is float32
            number = attribute.f
            attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.array(number, np.float64))))
        if attribute.name == "value_floats":
            numbers = np.array(attribute.floats, np.float64)
            attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(numbers)))
        if attribute.HasField("t"):
            _double_tensor(attribute.t)
        for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
            _double_graph(inner)


def _double_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in SINGLE:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


# --- operations ---


def _windows(images: Array, *, kernel: Any, strides: Any, dilations: Any, pads: Any, fill: float) -> Array:
    """(N, C, H, W) → (N, C, OH, OW, KH, KW), a view of the padded images."""
    sides = len(kernel)
    width = [(0, 0), (0, 0), *((pads[index], pads[index + sides]) for index in range(sides))]
    padded = np.pad(images, width, constant_values=fill) if any(pads) else images
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    windows = sliding_window_view(padded, spans, axis=tuple(range(2, 2 + sides)))
    steps = tuple(slice(None, None, step) for step in strides)
    return windows[(slice(None), slice(None), *steps, *(slice(None, None, step) for step in dilations))]


def _pads(shape: Any, window: dict[str, Any], pads: Any, auto_pad: Any) -> list[int]:
    """The padding at the start of each side, then at the end of each."""
    kernel, strides, dilations = (window[name] for name in ("kernel", "strides", "dilations"))
    sides = len(kernel)
    if auto_pad in (None, "NOTSET", "VALID", b"NOTSET"):
        return list(pads) if pads and auto_pad != "VALID" else [0] * 2 * sides
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    totals = [
        max((-(-length // step) - 1) * step + span - length, 0)
        for length, step, span in zip(shape[2:], strides, spans, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if auto_pad == "SAME_UPPER" else [*large, *small]


class Conv(OpRun):
    """A matrix product per image and group."""

    def _run(  # type: ignore[no-untyped-def]
        self, x, w, b=None, auto_pad=None, dilations=None, group=None, kernel_shape=None, pads=None, strides=None
    ):
        kernel, groups = w.shape[2:], group or 1
        ones = [1] * len(kernel)
        window = {"kernel": kernel, "strides": strides or ones, "dilations": dilations or ones}
        pads = _pads(x.shape, window, pads, auto_pad)
        sides = len(kernel)
        weights = w.reshape(groups, len(w) // groups, -1)
        rows = []
        for image in x:  # the windows of one image are in memory
            windows = _windows(image[None], pads=pads, fill=0.0, **window)[0]
            places = windows.shape[1 : 1 + sides]
            columns = windows.transpose(0, *range(1 + sides, 1 + 2 * sides), *range(1, 1 + sides))
            rows.append(np.matmul(weights, columns.reshape(groups, weights.shape[2], -1)).reshape(len(w), *places))
        out = np.stack(rows) if rows else np.empty((0, len(w), *ones))
        return (out if b is None else out + b.reshape(-1, *ones),)


class MaxPool(OpRun):
    def _run(  # type: ignore[no-untyped-def]
        self, x, auto_pad=None, ceil_mode=None, dilations=None, kernel_shape=None, pads=None, storage_order=None, strides=None
    ):
        ones = [1] * len(kernel_shape)
        window = {"kernel": kernel_shape, "strides": strides or ones, "dilations": dilations or ones}
        pads = _ceiled(x.shape, _pads(x.shape, window, pads, auto_pad), window, ceil_mode)
        windows = _windows(x, pads=pads, fill=-np.inf, **window)
        return (windows.max(axis=tuple(range(-len(kernel_shape), 0))),)


class AveragePool(OpRun):
    def _run(  # type: ignore[no-untyped-def]
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        count_include_pad=None,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        ones = [1] * len(kernel_shape)
        window = {"kernel": kernel_shape, "strides": strides or ones, "dilations": dilations or ones}
        given = _pads(x.shape, window, pads, auto_pad)
        ceiled = _ceiled(x.shape, given, window, ceil_mode)
        axes, sides = tuple(range(-len(kernel_shape), 0)), len(kernel_shape)
        inside = np.ones((1, 1, *x.shape[2:]))
        if count_include_pad:
            inside = np.pad(
                inside, [(0, 0), (0, 0), *((given[i], given[i + sides]) for i in range(sides))], constant_values=1.0
            )
            rest = [new - old for new, old in zip(ceiled, given, strict=True)]
        else:
            rest = ceiled
        count = _windows(inside, pads=rest, fill=0.0, **window).sum(axis=axes)
        return (_windows(x, pads=ceiled, fill=0.0, **window).sum(axis=axes) / count,)


def _ceiled(shape: Any, pads: list[int], window: dict[str, Any], ceil_mode: Any) -> list[int]:
    """More padding at the ends where the last window is cut off, unless it would start in the padding."""
    if not ceil_mode:
        return pads
    sides, ends = len(window["kernel"]), []
    for index in range(sides):
        step = window["strides"][index]
        span = (window["kernel"][index] - 1) * window["dilations"][index] + 1
        length = shape[2 + index] + pads[index] + pads[index + sides]
        count = -(-(length - span) // step) + 1
        if (count - 1) * step >= shape[2 + index] + pads[index]:
            count -= 1
        ends.append(pads[index + sides] + max((count - 1) * step + span - length, 0))
    return [*pads[:sides], *ends]


class BatchNormalization(OpRun):
    """Inference, whatever the opset: onnx's own trains before opset 14."""

    def _run(self, x, scale, bias, mean, var, epsilon=None, **_):  # type: ignore[no-untyped-def]
        scale = scale / np.sqrt(var + epsilon)
        ones = (1,) * (x.ndim - 2)
        return (x * scale.reshape(-1, *ones) + (bias - mean * scale).reshape(-1, *ones),)


class LRN(OpRun):
    def _run(self, x, alpha=None, beta=None, bias=None, size=None):  # type: ignore[no-untyped-def]
        before = (size - 1) // 2
        squares = np.pad(x**2, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
        total = sum(squares[:, start : start + x.shape[1]] for start in range(size))
        return (x / (bias + float(alpha) / size * total) ** beta,)


class Erf(OpRun):
    def _run(self, x):  # type: ignore[no-untyped-def]
        return (erf(x),)


class Gelu(OpRun):
    def _run(self, x, approximate=None):  # type: ignore[no-untyped-def]
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + erf(x / np.sqrt(2))),)


OPERATIONS = [Conv, MaxPool, AveragePool, BatchNormalization, LRN, Erf, Gelu]
