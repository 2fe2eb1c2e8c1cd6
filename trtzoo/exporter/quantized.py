"""From calibration images to a quantized graph: the images, the ranges and where they are kept, and the golden sample."""

from collections.abc import Generator
from contextlib import closing
from itertools import islice

import msgspec
import numpy as np
from torch import nn

from trtzoo.artifacts import golden
from trtzoo.artifacts.blocks import node_blocks
from trtzoo.artifacts.golden import Golden
from trtzoo.artifacts.graphs import ExportOrder, Quantization
from trtzoo.core.arrays import Array
from trtzoo.core.console import log
from trtzoo.core.errors import DataError, unknown
from trtzoo.core.files import cache_folder, cached_record
from trtzoo.core.records import SCHEMA, Preprocessing, Record
from trtzoo.exporter import fx_to_onnx
from trtzoo.exporter.calibrate import activation_ranges
from trtzoo.exporter.onnx_writer import OnnxGraph
from trtzoo.exporter.quantize import quantize
from trtzoo.images.dataset import DataSet

SHOWN = 5  # unreadable images that are reported one by one


class ActivationRanges(Record, frozen=True, kw_only=True):
    """The range of each tensor of one network, and the images that could not be read, with reasons."""

    schema: int = SCHEMA
    ranges: dict[str, float]
    unreadable: dict[str, str] = msgspec.field(default_factory=dict)


def quantized_graph(
    network: nn.Module, order: ExportOrder, data: DataSet, preprocessing: Preprocessing, key: str
) -> tuple[OnnxGraph, Quantization]:
    """The quantized graph of an order. `key` is a hash of all that decides the ranges: the user's cache keeps them under it.

    Raises DataError if no image can be read, ExportError for a tensor that has no scale, UsageError for an unknown block.
    """
    assert order.calibration is not None
    path = cache_folder() / "calibration" / f"{key}.json"
    found = cached_record(path, ActivationRanges, lambda: _calibrate(network, order, data, preprocessing))
    for name, reason in list(found.unreadable.items())[:SHOWN]:
        log.warning("%s cannot be read and calibrates nothing: %s", name, reason)
    if len(found.unreadable) > SHOWN:
        log.warning("… and %d more images cannot be read.", len(found.unreadable) - SHOWN)
    graph = fx_to_onnx.translate(network, order)
    blocks = dict.fromkeys(node_blocks(graph.nodes))
    if strange := [block for block in order.kept if block not in blocks]:
        raise unknown(f"block of {order.model}", strange[0], blocks)
    return graph, quantize(graph, found.ranges, order.calibration, kept=order.kept, unreadable=len(found.unreadable))


def _calibrate(network: nn.Module, order: ExportOrder, data: DataSet, preprocessing: Preprocessing) -> ActivationRanges:
    assert order.calibration is not None
    unreadable: dict[str, str] = {}
    with closing(_images(data, preprocessing, order.size, unreadable)) as images:
        graph = fx_to_onnx.translate(network, order.in_floats)
        ranges = activation_ranges(graph, images, order.calibration.method)
    if not any(ranges.values()) and len(unreadable) == len(data.photographs):
        raise DataError(f"None of {len(unreadable)} images of {data.folder} can be read.")
    return ActivationRanges(ranges=ranges, unreadable=unreadable)


def golden_sample(network: nn.Module, order: ExportOrder, data: DataSet, preprocessing: Preprocessing) -> Golden:
    """A golden sample of calibration images: on others, values are cut that the scales were not made for."""
    with closing(_images(data, preprocessing, order.size, {})) as stream:
        found = list(islice(stream, golden.IMAGES))
    images = np.stack(found).astype(np.float16).astype(np.float32)[np.arange(golden.IMAGES) % len(found)]
    return Golden(images, fx_to_onnx.reference_logits(network, images))


def _images(data: DataSet, preprocessing: Preprocessing, size: int, unreadable: dict[str, str]) -> Generator[Array]:
    """The readable calibration images (3, S, S) float32, or synthetic ones; `unreadable` receives the others."""
    if not data.photographs:
        yield from golden.images(size, data.synthetic)
        return
    from trtzoo.images.decoders import Decoders
    from trtzoo.images.preprocessing import normalise

    with Decoders() as decoders:
        for crop in decoders.stream(data, list(range(len(data.photographs))), preprocessing, size):
            if crop.pixels is None:
                unreadable[data.title(crop.index)] = crop.reason
            else:
                yield normalise(crop.pixels[None], preprocessing)[0]
