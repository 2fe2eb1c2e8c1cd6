"""Stage 1 for a network that trtzoo did not export: the user's ONNX file becomes a checked one with golden sample and sidecar.

The user's file is only read. Its copy is rewritten to the form that trtzoo exports, and computes what the original computes.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trtzoo.artifacts import golden
from trtzoo.artifacts.foreign import ForeignFile
from trtzoo.artifacts.graphs import AdoptionOrder, OnnxSidecar, is_sidecar
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError, MachineError, TrtzooError, WrongOutputError
from trtzoo.core.files import encode, replacing, sha256_file, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Batch, Identity, Weights
from trtzoo.core.subprocesses import Report, serve
from trtzoo.exporter.adoption import Outcome, Request, facts
from trtzoo.exporter.plan import ExportResult, code_sha256, exported
from trtzoo.models.sources import FILE

PACKAGES = ("trtzoo", "onnx", "numpy")  # the packages that decide an adopted file's bytes
LARGEST_FILE = (1 << 31) - (1 << 20)  # bytes that Protobuf can write, with some for the sidecar's fields


class Reference(msgspec.Struct, frozen=True):
    """The golden sample of a file, and what computed it, in words; `why` float64 did not.

    `peaks` are the largest |value| of the graph's tensors.
    """

    sample: golden.Golden
    title: str
    peaks: dict[str, float] = {}
    why: str = ""


def adopt(file: ForeignFile, orders: list[AdoptionOrder], folder: Path, *, force: bool = False) -> Iterator[ExportResult]:
    """Run the orders of one file and yield each result; a failed order does not stop the others or leave partial files.

    A file whose inputs have not changed is not made again unless `force`.
    """
    shared = cache(partial(_Adoption.read, file))  # by files of all precisions
    for order in orders:
        path, start = folder / order.file_name, time.perf_counter()
        sidecar, current, error = None, None, ""
        try:
            with replacing(path) as temporary:
                inputs = _inputs_sha256(order)
                there = exported(path)
                if (other := sidecar_path(path)).exists() and not is_sidecar(other):
                    raise ExportError(f"{other} exists and is not trtzoo's. Move it, or say --onnx-dir OTHER")
                current = there if there and there.inputs_sha256 == inputs and not force else None
                sidecar = current or shared().write(order, temporary / path.name, inputs)
        except TrtzooError as failure:
            sidecar, error = None, str(failure)
        except Exception as failure:  # onnx and its graphs' strings raise anything
            reason = " ".join(f"{type(failure).__name__}: {failure}".split())[:200]
            sidecar, error = None, f"{file.path} is damaged, or no graph that trtzoo can read ({reason})"
        seconds, note = time.perf_counter() - start, "" if sidecar is None else "; ".join(facts(sidecar))
        yield ExportResult(
            order=order,
            path=path,
            seconds=seconds,
            up_to_date=current is not None,
            sidecar=sidecar,
            note=note,
            error=error,
        )


class _Adoption(msgspec.Struct, frozen=True):
    """One file in memory, its rewritten graph and its reference, from which files of several precisions are made."""

    file: ForeignFile
    rewritten: Any
    reference: Reference
    batch: Batch

    @classmethod
    def read(cls, file: ForeignFile) -> "_Adoption":
        """Raises ExportError for a graph that ONNX Runtime cannot load or run."""
        import onnx

        from trtzoo.exporter.rewriting import rewrite

        if file.bytes > LARGEST_FILE:
            raise ExportError(f"{file.path} has {file.bytes / 1e9:.1f} GB of weights, and one ONNX file holds 2.1 GB.")
        try:
            rewritten = rewrite(onnx.load(file.path))
        except onnx.shape_inference.InferenceError as error:
            raise ExportError(f"{file.path} contradicts itself: {' '.join(str(error).split())}") from error
        run = _plain(file.path)
        reference = _reference(file, rewritten.original, run)
        if reference.why:
            rewritten.notes.append(f"float64 is not the reference: {reference.why}")
        batch = _batch(file, reference.sample, run)
        if batch != file.identity.batch:
            rewritten.notes.append("batches of 1 only: its graph fixes them")
            for value in (*rewritten.model.graph.input, *rewritten.model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_value = 1
        if golden.is_constant(reference.sample.logits):
            rewritten.notes.append("every class has the same logit")
        return cls(file, rewritten, reference, batch)

    def write(self, order: AdoptionOrder, path: Path, inputs: str) -> OnnxSidecar:
        """Write the graph to `path`, checked against the golden sample by ONNX Runtime, and its sidecar beside it."""
        import onnxruntime

        from trtzoo.exporter.halving import halve

        model, identity, sample = self.rewritten.model, self.file.identity, self.reference.sample
        converted = order.precision != self.file.precision
        if converted:
            model = halve(model, order.precision, order.io)
        path.write_bytes(model.SerializeToString(deterministic=True))
        sample_path = path.with_suffix(".npz")
        sample.save(sample_path)
        images, expected = sample.batch(golden.IMAGES if self.batch == "dynamic" else self.batch)
        try:
            quantized = PRECISIONS[order.precision].quantized
            logits = _plain(path)(images) if quantized else _optimised(path, images, order.precision)
            precise = "fp16" if quantized else order.precision  # both compute the same steps
            check = golden.check_logits(logits, expected, tolerance=PRECISIONS[precise].tolerance)
        except WrongOutputError as error:
            raise WrongOutputError(f"{error}{self._overflow() if order.precision == 'fp16' and converted else ''}") from error
        digest = sha256_file(path)
        return _write_sidecar(
            path,
            OnnxSidecar(
                model=order.name,
                network="",
                precision=order.precision,
                io=order.io,
                batch=self.batch,
                opset=next(row.version for row in model.opset_import if row.domain in ("", "ai.onnx")),
                classes=identity.classes,
                size=identity.height,
                width=identity.width,
                params=self.rewritten.count.params,
                macs=self.rewritten.count.macs or 0,
                weights=Weights(
                    source=FILE,
                    origin=order.source.name,
                    sha256=identity.sha256,
                    epsilon=0.0,
                    preprocessing=order.preprocessing,
                ),
                checkpoint=str(order.source.absolute()),
                reference=self.reference.title,
                rewrites=(*self.rewritten.notes, *([f"converted to {order.precision.upper()}"] if converted else [])),
                inputs_sha256=inputs,
                sha256=digest,
                bytes=path.stat().st_size,
                golden=sample_path.name,
                golden_sha256=sha256_file(sample_path),
                check=check,
                versions={name: version(name) for name in PACKAGES} | {"onnxruntime": onnxruntime.__version__},
            ),
        )

    def _overflow(self) -> str:
        """Which tensors exceed FP16's range, as the end of an error."""
        from trtzoo.exporter.onnx_writer import LARGEST

        made = {name for node in self.rewritten.model.graph.node for name in node.output}
        beyond = {name: peak for name, peak in self.reference.peaks.items() if peak > LARGEST["fp16"] and name in made}
        if not beyond:
            return ""
        first = next(iter(beyond))
        return f": {len(beyond)} tensors exceed FP16's {LARGEST['fp16']:g}, the first is {first} with {beyond[first]:.3g}"


def _write_sidecar(path: Path, sidecar: OnnxSidecar) -> OnnxSidecar:
    sidecar_path(path).write_bytes(encode(sidecar))
    return sidecar


def _inputs_sha256(order: AdoptionOrder) -> str:
    """A hash of everything that decides an adopted file."""
    versions = [version(name) for name in PACKAGES]
    inputs = [order.identity.sha256, order.name, order.precision, order.io, order.preprocessing, code_sha256(), versions]
    return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()


def _batch(file: ForeignFile, sample: golden.Golden, run: Callable[[Array], Array]) -> Batch:
    """The batch sizes that the file takes: a dynamic one may fix them inside, as an exporter's Reshape to (1, C) does."""
    if file.identity.batch == "dynamic":
        try:
            logits = run(sample.images)
            golden.check_logits(logits.reshape(len(logits), -1), sample.logits, tolerance=PRECISIONS[file.precision].tolerance)
        except (MachineError, WrongOutputError):
            return 1
    return file.identity.batch


def _reference(file: ForeignFile, original: Any, run: Callable[[Array], Array]) -> Reference:
    """Float64 where onnx's evaluator knows every operation and agrees with ONNX Runtime on the original; else the latter."""
    from trtzoo.exporter.float64 import Evaluation

    identity = file.identity
    images = golden.images(identity.height, width=identity.width)
    plain = _in_batches(run, images, identity)
    if PRECISIONS[file.precision].quantized:
        return Reference(golden.Golden(images, plain), "ONNX Runtime on the original")
    try:
        evaluation = Evaluation(original)
        logits = _in_batches(evaluation, images, identity)
        golden.check_logits(plain, logits, tolerance=PRECISIONS[file.precision].tolerance)
    except WrongOutputError as error:
        why = f"ONNX Runtime's {error}"
    except Exception as error:  # onnx's evaluator has no common error
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    else:
        return Reference(golden.Golden(images, logits), "float64", evaluation.peaks)
    return Reference(golden.Golden(images, plain), "ONNX Runtime FP32 on the original", why=why)


def _optimised(path: Path, images: Array, kind: str) -> Array:
    """The logits by ONNX Runtime as it is used on a graph of this kind."""
    from trtzoo.runtimes.onnxruntime import Session

    with closing(Session(path, batch=len(images), kind=kind)) as session:
        return session.infer(images)


def _plain(path: Path) -> Callable[[Array], Array]:
    """ONNX Runtime on a file, without optimisations: node by node, and without integer kernels, which may saturate.

    Raises ExportError if it cannot load the file, and the function MachineError if it cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error
    (source,) = session.get_inputs()
    kind = np.float16 if "float16" in source.type else np.float32

    def run(images: Array) -> Array:
        try:
            return np.asarray(session.run(None, {source.name: images.astype(kind)})[0])
        except Exception as error:
            raise MachineError(f"ONNX Runtime {onnxruntime.__version__} cannot run {path}: {error}") from error

    return run


def _in_batches(run: Callable[[Array], Array], images: Array, identity: Identity) -> Array:
    """The float64 logits of all images, in the batches that the file takes; one image at a time if it takes any."""
    size = 1 if identity.batch == "dynamic" else int(identity.batch)
    rows = []
    for start in range(0, len(images), size):
        logits = run(images[(start + np.arange(size)) % len(images)])
        rows.append(np.asarray(logits, np.float64).reshape(len(logits), -1))
    return np.concatenate(rows)[: len(images)]


def _serve(request: Any, report: Report) -> int:
    asked = msgspec.convert(request, Request, dec_hook=lambda kind, text: kind(text))
    for result in adopt(asked.file, asked.orders, asked.folder, force=asked.force):
        report(Outcome(**{name: getattr(result, name) for name in Outcome.__struct_fields__}))
    return len(asked.orders)


if __name__ == "__main__":
    serve(dict[str, Any], lambda request, report, stopped: _serve(request, report))
