"""Stage 1: model + weights + precision → a verified ONNX file, its golden sample and its sidecar.

Frameworks are imported by `export` only when it starts. An export that is up to date costs two hashes.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict, replace

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import AdoptionOrder, Exporter, ExportOrder, OnnxSidecar
from trtzoo.core.console import log
from trtzoo.core.errors import ExportError, StoreError, TrtzooError
from trtzoo.core.files import encode, read_sidecar, replacing, sha256_file, sidecar_path
from trtzoo.core.precisions import GRAPHS, PRECISIONS, precision_of
from trtzoo.core.records import Record
from trtzoo.images.dataset import DataSet
from trtzoo.models.sources import FILE, SEEDED, Checkpoint
from trtzoo.models.table import TIMM, Count, Model, zoo

if TYPE_CHECKING:
    from torch import nn

    from trtzoo.exporter.onnx_writer import OnnxGraph

DIRECT: Exporter = "direct"
PACKAGES = ("trtzoo", "torch", "onnx", "numpy")  # the packages that decide an export's bytes
TIMM_PACKAGES = ("timm", "onnxscript")  # and of timm's networks, if they are installed
# our code that decides an export's bytes: a change of it makes every export out of date
CODE = ("exporter", "artifacts/blocks.py", "artifacts/golden.py", "core/precisions.py", "core/precisions.toml", "models")


class ExportResult(Record, frozen=True, kw_only=True):
    """The outcome of one order: its sidecar, or the error. `note` is what happened to the file that was there before."""

    order: ExportOrder | AdoptionOrder
    path: Path
    seconds: float = 0.0
    up_to_date: bool = False
    sidecar: OnnxSidecar | None = None
    note: str = ""
    error: str = ""


def export(
    model: Model,
    checkpoint: Checkpoint,
    orders: list[ExportOrder],
    folder: Path,
    *,
    calibration: DataSet | None = None,
    force: bool = False,
) -> Iterator[ExportResult]:
    """Run the orders of one model and yield each result; a failed order does not stop the others or leave partial files.

    A file whose inputs have not changed is not exported again unless `force`. A file with other weights is not replaced,
    either: it stays if the wanted weights could not be downloaded, else the order fails. Quantized graphs need images, the
    `calibration`.
    """
    from trtzoo.exporter import fx_to_onnx, quantized
    from trtzoo.models import weights
    from trtzoo.runtimes import onnxruntime

    load = cache(partial(weights.load, model, checkpoint))  # the network is shared by all files

    @cache
    def golden_sample(floats: ExportOrder) -> golden.Golden:
        network, _ = load(classes=floats.classes, size=floats.size)
        if floats.calibration and calibration:
            return quantized.golden_sample(network, floats, calibration, checkpoint.preprocessing(floats.size))
        images = golden.images(floats.size)
        return golden.Golden(images, fx_to_onnx.reference_logits(network, images))

    def make(order: ExportOrder, path: Path, inputs: str) -> OnnxSidecar:
        """Write the graph, verified by ONNX Runtime's logits, to `path`, and its golden sample and sidecar beside it."""
        network, record = load(classes=order.classes, size=order.size)
        preprocessing, quantization, route = checkpoint.preprocessing(order.size), None, DIRECT
        if order.calibration and calibration:
            key = inputs_sha256(order.in_floats, checkpoint, model)
            graph, quantization = quantized.quantized_graph(network, order, calibration, preprocessing, key)
        else:
            graph, route = translate(network, order, model)
        sha256 = graph.write(path)
        sample, sample_path = golden_sample(order.in_floats), path.with_suffix(".npz")
        sample.save(sample_path)
        images, expected = sample.batch(golden.IMAGES if order.batch == "dynamic" else order.batch)
        with closing(
            onnxruntime.Session(path, batch=len(images), optimised=quantization is None, kind=order.precision)
        ) as session:
            logits, runtime = session.infer(images), session.versions
        own = checkpoint.path  # published checkpoints are found again by their source
        facts = asdict(order)
        name, counted = facts.pop("name") or order.model, counts(model, order, network, graph)
        del facts["calibration"], facts["kept"]
        sidecar = OnnxSidecar(
            **facts | {"model": name, "network": model.network, "opset": graph.opset},
            exporter=route,
            quantization=quantization,
            params=counted.params,
            macs=counted.flops // 2,
            weights=replace(record, preprocessing=preprocessing),
            checkpoint="" if own is None or "://" in checkpoint.origin else str(own.absolute()),
            inputs_sha256=inputs,
            sha256=sha256,
            bytes=path.stat().st_size,
            golden=sample_path.name,
            golden_sha256=sha256_file(sample_path),
            check=golden.check_logits(logits, expected, tolerance=PRECISIONS[precision_of(order.precision)].tolerance),
            versions={name: version(name) for name in packages(model)} | runtime,
        )
        sidecar_path(path).write_bytes(encode(sidecar))
        return sidecar

    for order in orders:
        path, start = folder / order.file_name, time.perf_counter()
        sidecar, current, note, error = None, None, "", ""
        try:
            with replacing(path) as work:
                inputs = inputs_sha256(order, checkpoint, model)
                current = None if force else _up_to_date(path, inputs)
                if not force and not current and (there := exported(path)):
                    current, note = _instead(there, checkpoint, model)
                sidecar = current or make(order, work / path.name, inputs)
                note = note or ("" if current else _unfit_text(sidecar))
        except TrtzooError as failure:
            sidecar, error = None, str(failure)
        seconds, up_to_date = time.perf_counter() - start, current is not None
        yield ExportResult(
            order=order, path=path, seconds=seconds, up_to_date=up_to_date, sidecar=sidecar, note=note, error=error
        )


def translate(network: "nn.Module", order: ExportOrder, model: Model) -> "tuple[OnnxGraph, Exporter]":
    """The network's graph, and who made it: our exporter, or PyTorch's if an operation of one of timm's has no row in ours.

    Raises ExportError if neither can.
    """
    from trtzoo.exporter import fx_to_onnx

    try:
        return fx_to_onnx.translate(network, order), DIRECT
    except ExportError as error:
        if model.family != TIMM:
            raise
        from trtzoo.exporter import torch_export

        log.info("%s Using torch.onnx.export, which takes longer.", error)
        return torch_export.translate(network, order), "torch.onnx"


def _unfit_text(sidecar: OnnxSidecar) -> str:
    """Which convolutions of a quantized graph are not quantized, because the type does not allow it; empty if all are."""
    found, row = sidecar.quantization, GRAPHS[sidecar.precision]
    if found is None or not found.unfit:
        return ""
    rest = ", ".join(f"{count} {reason}" for reason, count in found.unfit.items())
    kinds = row.quantized.upper(), row.floats.upper()
    return f"{found.convolutions} of {found.all_convolutions} convolutions in {kinds[0]}, in {kinds[1]} {rest}"


def counts(model: Model, order: ExportOrder, network: "nn.Module", graph: "OnnxGraph") -> Count:
    """Parameters and FLOPs of one image: the row's, or counted if it has none; 0 if they are unknown."""
    if model.params or model.family != TIMM:
        usual = order.classes == 1000
        return Count(model.params if usual else 0, model.flops if usual and order.size == 224 else 0)
    from trtzoo.artifacts.counting import count_graph

    macs = count_graph(graph.outline()).macs or 0
    params = sum(parameter.numel() for parameter in network.parameters())
    return Count(params, 2 * (macs if order.batch == "dynamic" else macs // order.batch))


def packages(model: Model) -> list[str]:
    """The packages that decide an export's bytes."""
    return [*PACKAGES, *(name for name in TIMM_PACKAGES if model.family == TIMM and find_spec(name))]


def inputs_sha256(order: ExportOrder, checkpoint: Checkpoint, model: Model) -> str:
    """A hash of everything that decides an export: the order, the network, the weights, our code and the packages' versions."""
    weights = checkpoint.source if checkpoint.path is None else sha256_file(checkpoint.path)
    how = [checkpoint.preprocessing(order.size), checkpoint.epsilon or 0, checkpoint.entry]
    return _inputs(order, model, weights, checkpoint.source, *how, fallback=bool(checkpoint.fallback))


def stale_reason(sidecar: OnnxSidecar) -> str:
    """Why the export of a model of the zoo would be made again from the same weights; empty if it would not."""
    own, weights, network = Path(sidecar.checkpoint), sidecar.weights, sidecar.identity.network
    model = next((row for row in zoo().values() if row.network == network), None)
    if not network or model is None or model.family == TIMM:  # whose opset and epsilon are not those of the order
        return ""
    if sidecar.checkpoint and own.is_file() and sha256_file(own) != weights.sha256:
        return f"exported from an earlier {own.name}"
    facts = {name: getattr(sidecar, name) for name in ("precision", "io", "batch", "opset", "classes", "size")}
    if sidecar.quantization:
        facts |= {"calibration": sidecar.quantization.calibration, "kept": sidecar.quantization.kept}
    order = ExportOrder(model=model.name, name="" if sidecar.model == model.name else sidecar.model, **facts)
    digest, how = (
        SEEDED if weights.source == SEEDED else weights.sha256,
        [weights.preprocessing, weights.epsilon, weights.entry],
    )
    current = _inputs(order, model, digest, weights.source, *how, fallback=bool(weights.fallback))
    return "" if current == sidecar.inputs_sha256 else "exported by other code or packages"


def _inputs(order: ExportOrder, model: Model, *weights: object, fallback: bool) -> str:
    versions = [version(name) for name in packages(model)]
    what = [msgspec.to_builtins(order), model.network, model.family, model.arguments]
    return hashlib.sha256(msgspec.json.encode([*what, *weights, fallback, code_sha256(), versions])).hexdigest()


def code_sha256() -> str:
    """A hash of our code that decides an export's bytes."""
    package, code = Path(__file__).parent.parent, hashlib.sha256()
    for name in CODE:
        for path in sorted(path for path in (package / name).rglob("*") if path.suffix in (".py", ".toml")) or [package / name]:
            code.update(path.read_bytes())
    return code.hexdigest()


def _up_to_date(path: Path, inputs: str) -> OnnxSidecar | None:
    """The sidecar, if the file and its golden sample are intact and were made from these inputs."""
    sidecar = exported(path)
    return sidecar if sidecar and sidecar.inputs_sha256 == inputs else None


def exported(path: Path) -> OnnxSidecar | None:
    """The sidecar, if the file and its golden sample are intact."""
    try:
        sidecar = read_sidecar(path, OnnxSidecar, remedy="")
        intact = sha256_file(path.with_name(sidecar.golden)) == sidecar.golden_sha256
    except (StoreError, OSError):
        return None
    return sidecar if intact else None


def _instead(there: OnnxSidecar, checkpoint: Checkpoint, model: Model) -> tuple[OnnxSidecar | None, str]:
    """The export to keep instead of a new one, if any, and a note about it.

    Seeded weights that stood in for others make way for those, and replace nothing themselves. Raises ExportError if the file
    is of another network or has other weights.
    """
    if there.identity.network != model.network:
        raise ExportError(
            f"it is of the network {there.identity.network}, and {model.network} would replace it. Keep both: --name OTHER. "
            "Replace it: --force"
        )
    here, wanted = _source(there.weights.source, there.weights.origin), _source(checkpoint.source, checkpoint.origin)
    same = there.weights.sha256 == sha256_file(checkpoint.path) if checkpoint.path else there.weights.source == SEEDED
    if same:
        return None, ""
    if checkpoint.fallback:
        return there, f"kept, with weights of {here}: the published ones cannot be downloaded now"
    if there.weights.fallback:
        return None, f"replaces seeded weights by those of {wanted}"
    raise ExportError(
        f"it has weights of {here}, and weights of {wanted} would replace it. Keep both: --name OTHER. Replace it: --force"
    )


def _source(source: str, origin: str) -> str:
    return origin if source == FILE else source
