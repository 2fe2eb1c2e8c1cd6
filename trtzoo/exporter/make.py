"""Makes one ONNX file with its golden sample and sidecar, and verifies the graph before it writes the sidecar."""

from contextlib import closing
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

from msgspec.structs import asdict, replace

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar
from trtzoo.core.files import encode, sha256_file, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import GoldenCheck
from trtzoo.exporter import fx_to_onnx, reference
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
        precision = PRECISIONS[order.precision]
        sha256 = fx_to_onnx.write(
            path,
            network,
            name=order.model,
            precision=precision.graph,
            io=order.io,
            size=order.size,
            batch=None if order.batch == "dynamic" else order.batch,
            opset=order.opset,
        )
        sample, sample_path = self._golden(order.classes, order.size), path.with_suffix(".npz")
        sample.save(sample_path)
        check, runtime = _verify(order, path, sample, precision.tolerance)
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
            check=check,
            versions={name: version(name) for name in packages} | runtime,
        )
        sidecar_path(path).write_bytes(encode(sidecar))
        return sidecar

    def _sample(self, classes: int, size: int) -> golden.Golden:
        images = golden.images(size)
        network, _ = self._network(classes=classes)
        return golden.Golden(images, reference.logits(network, images))


def _verify(order: ExportOrder, path: Path, sample: golden.Golden, tolerance: float) -> tuple[GoldenCheck, dict[str, str]]:
    """Compare ONNX Runtime's logits with the float64 reference; the check and ONNX Runtime's version."""
    batch = golden.IMAGES if order.batch == "dynamic" else order.batch
    images, expected = sample.batch(batch)
    with closing(onnxruntime.Session(path, batch=batch)) as session:
        return golden.check_logits(session.infer(images), expected, tolerance=tolerance), session.versions
