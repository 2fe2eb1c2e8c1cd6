"""Makes one ONNX file with its golden sample and sidecar, and verifies the graph before it writes the sidecar."""

from contextlib import closing
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import asdict, replace
from torch import nn

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar
from trtzoo.core.arrays import Array
from trtzoo.core.files import encode, sha256_file, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.exporter import fx_to_onnx
from trtzoo.models import weights
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import Model
from trtzoo.runtimes import onnxruntime


class ModelExporter:
    """Exports one model. Its network and golden samples are made when first needed, and shared by all its files."""

    def __init__(self, model: Model, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._network = cache(partial(weights.load, model, checkpoint))
        self._golden = cache(self._sample)

    def make(self, order: ExportOrder, path: Path, *, inputs_sha256: str, packages: tuple[str, ...]) -> OnnxSidecar:
        """Write the graph to `path`, and its golden sample and sidecar beside it.

        Raises WeightsError, ExportError, and WrongOutputError if ONNX Runtime's logits differ from the network's.
        """
        network, record = self._network(classes=order.classes)
        sha256 = fx_to_onnx.write(path, network, order)
        sample, sample_path = self._golden(order.classes, order.size), path.with_suffix(".npz")
        sample.save(sample_path)
        images, expected = sample.batch(golden.IMAGES if order.batch == "dynamic" else order.batch)
        with closing(onnxruntime.Session(path, batch=len(images))) as session:
            logits, runtime = session.infer(images), session.versions
        own = self.checkpoint.path  # published checkpoints are found again by their source
        sidecar = OnnxSidecar(
            **asdict(order),
            weights=replace(record, preprocessing=self.checkpoint.preprocessing(order.size)),
            checkpoint="" if own is None or "://" in self.checkpoint.origin else str(own.absolute()),
            inputs_sha256=inputs_sha256,
            sha256=sha256,
            bytes=path.stat().st_size,
            golden=sample_path.name,
            golden_sha256=sha256_file(sample_path),
            check=golden.check_logits(logits, expected, tolerance=PRECISIONS[order.precision].tolerance),
            versions={name: version(name) for name in packages} | runtime,
        )
        sidecar_path(path).write_bytes(encode(sidecar))
        return sidecar

    def _sample(self, classes: int, size: int) -> golden.Golden:
        images = golden.images(size)
        network, _ = self._network(classes=classes)
        return golden.Golden(images, reference_logits(network, images))


def reference_logits(network: nn.Module, images: Array) -> Array:
    """Images (N, 3, H, W) → PyTorch's float64 logits (N, classes). Afterwards the network is float32 again, bit for bit."""
    network.double()
    try:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(images).double()).numpy())
    finally:
        network.float()
