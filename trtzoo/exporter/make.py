"""Makes one ONNX file, its golden sample and its sidecar, and proves the graph before the sidecar is written."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

from msgspec.structs import replace
from torch import nn

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar
from trtzoo.core.files import encode, sha256_file, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import GoldenCheck, Weights
from trtzoo.exporter import fx_to_onnx, reference
from trtzoo.models import weights
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import Model
from trtzoo.runtimes import onnxruntime


class ModelExporter:
    """A model's network and golden samples, each made when first asked for and shared by all its files."""

    def __init__(self, model: Model, checkpoint: Checkpoint) -> None:
        self.model, self.checkpoint = model, checkpoint
        self._network = cache(self._load)
        self._golden = cache(self._sample)

    def make(self, order: ExportOrder, path: Path, *, inputs: str, packages: tuple[str, ...]) -> OnnxSidecar:
        """Write the graph to `path`, its golden sample and sidecar beside it.

        Raises WeightsError, ExportError, and WrongOutputError where ONNX Runtime does not give the network's logits.
        """
        network, record = self._network(order.classes)
        precision = PRECISIONS[order.precision]
        digest = fx_to_onnx.write(
            path,
            network,
            name=order.model,
            precision=precision.graph,
            io=order.io,
            size=order.size,
            batch=None if order.batch == "dynamic" else order.batch,
            opset=order.opset,
        )
        sample = self._golden(order.classes, order.size)
        sample_path = path.with_suffix(".npz")
        sample.save(sample_path)
        check, runtime = _prove(order, path, sample, precision.tolerance)
        sidecar = OnnxSidecar(
            model=order.model,
            precision=order.precision,
            io=order.io,
            batch=order.batch,
            opset=order.opset,
            classes=order.classes,
            size=order.size,
            weights=replace(record, preprocessing=self.checkpoint.preprocessing(order.size)),
            checkpoint=self._own_file(),
            inputs_sha256=inputs,
            sha256=digest,
            bytes=path.stat().st_size,
            golden=sample_path.name,
            golden_sha256=sha256_file(sample_path),
            check=check,
            versions={name: version(name) for name in packages} | runtime,
        )
        sidecar_path(path).write_bytes(encode(sidecar))
        return sidecar

    def _load(self, classes: int) -> tuple[nn.Module, Weights]:
        return weights.load(self.model, self.checkpoint, classes=classes)

    def _own_file(self) -> str:
        """The user's own checkpoint; published ones are found again by their source."""
        path = self.checkpoint.path
        return "" if path is None or "://" in self.checkpoint.origin else str(path.absolute())

    def _sample(self, classes: int, size: int) -> golden.Golden:
        images = golden.images(size)
        network, _ = self._network(classes)
        return golden.Golden(images, reference.logits(network, images))


def _prove(order: ExportOrder, path: Path, sample: golden.Golden, tolerance: float) -> tuple[GoldenCheck, dict[str, str]]:
    """ONNX Runtime's logits against the float64 reference's."""
    batch = golden.IMAGES if order.batch == "dynamic" else order.batch
    session = onnxruntime.Session(path, batch=batch)
    try:
        images, expected = sample.batch(batch)
        return golden.check_logits(session.infer(images), expected, tolerance=tolerance), session.versions
    finally:
        session.close()
