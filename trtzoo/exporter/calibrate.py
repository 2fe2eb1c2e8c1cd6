"""The ranges of a network's activations on calibration images: what scales are made of.

minmax      the largest absolute value
percentile  the value below which 99.99 % of the absolute values are
entropy     the range whose 128 levels lose the least information (Kullback and Leibler), as TensorRT's former calibrator
mse         the range whose 128 levels have the least mean squared error: clipping against rounding. Values that are never
            negative have 256 levels on processors, and clipping them for 128 would cost more than it gains

Histograms, entropy and percentile are ONNX Runtime's; it runs the network image by image, so memory does not grow with images.
"""

import contextlib
import io
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization.calibrate import HistogramCollector

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.core.system import available_cores
from trtzoo.exporter.onnx_writer import OnnxGraph
from trtzoo.exporter.quantize import LEVELS, UNSIGNED_LEVELS, never_negative, to_calibrate

SAMPLES = 1 << 13  # values of a tensor per image that enter its histogram, evenly spaced; its maximum always does
IMAGES_AT_ONCE = 8  # between two updates of the histograms
BINS = {"entropy": 512, "mse": 2048, "percentile": 2048}
PERCENTILE = 99.99
CANDIDATES = 64  # ranges that mse tries


def activation_ranges(graph: OnnxGraph, images: Iterable[Array], method: str) -> dict[str, float]:
    """The range of each tensor to quantize, over images (3, S, S); `graph` computes in FP32, and its outputs are changed.

    Raises ExportError for a tensor that is NaN or infinite.
    """
    tensors, unsigned = to_calibrate(graph), never_negative(graph.nodes)
    known = {output.name for output in graph.outputs}
    graph.outputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in tensors if name not in known
    ]
    largest, chunk = dict.fromkeys(tensors, 0.0), {name: list[Array]() for name in tensors}
    collector = HistogramCollector(
        "percentile" if method == "percentile" else "entropy", True, BINS.get(method, 0), 128, PERCENTILE, ""
    )
    with _values(graph, tensors, images) as stream:
        for number, values in enumerate(stream, start=1):
            for name, tensor in zip(tensors, values, strict=True):
                peak = max(float(tensor.max()), -float(tensor.min()))
                if not np.isfinite(peak):
                    raise ExportError(f"{name} is {peak:g} on a calibration image, so it has no scale. Check the weights")
                largest[name] = max(largest[name], peak)
                if method == "minmax":
                    continue
                flat = tensor.reshape(-1)
                chunk[name].append(np.append(flat[:: -(-flat.size // SAMPLES)], np.float32(peak)))
            if method != "minmax" and number % IMAGES_AT_ONCE == 0:
                _collect(collector, chunk)
    if method == "minmax":
        return largest
    _collect(collector, chunk)
    found = _thresholds(collector, method, unsigned)
    return {name: float(min(value, largest[name])) if largest[name] else 0.0 for name, value in found}


@contextlib.contextmanager
def _values(graph: OnnxGraph, tensors: tuple[str, ...], images: Iterable[Array]) -> Iterator[Iterator[list[Array]]]:
    """The tensors' values for each image."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, available_cores()
    with tempfile.TemporaryDirectory(prefix="trtzoo-") as folder:
        path = Path(folder) / "calibration.onnx"
        graph.write(path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    yield (session.run(list(tensors), {source.name: image[None]}) for image in images)


def _collect(collector: Any, chunk: dict[str, list[Array]]) -> None:
    """Add the values to the histograms."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        collector.collect({name: np.concatenate(values) for name, values in chunk.items() if values})
    for values in chunk.values():
        values.clear()


def _thresholds(collector: Any, method: str, unsigned: Collection[str]) -> Iterator[tuple[str, float]]:
    if method == "mse":
        for name, (counts, edges, *_) in collector.get_histogram_dict().items():
            yield name, least_squares(counts, edges, UNSIGNED_LEVELS if name in unsigned else LEVELS)
        return
    with contextlib.redirect_stdout(io.StringIO()):
        found = collector.compute_collection_result()
    yield from ((name, max(abs(float(row[0])), abs(float(row[1])))) for name, row in found.items())


def least_squares(counts: Array, edges: Array, levels: int) -> float:
    """The range with the least mean squared error of rounding to `levels` steps and clipping, for a histogram's values."""
    centres, ranges = np.abs((edges[:-1] + edges[1:]) / 2), np.linspace(0, np.abs(edges).max(), CANDIDATES + 1)[1:, None]
    steps = ranges / levels
    rounded = np.minimum(np.rint(centres / steps), levels) * steps
    return float(ranges[((centres - rounded) ** 2 * counts).sum(axis=1).argmin(), 0])
