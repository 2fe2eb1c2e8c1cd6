"""What export, build, bench and eval print as JSON: a line for each record. Times are in seconds, sizes in bytes."""

from typing import Literal

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.artifacts.engines import EngineSidecar
from trtzoo.benchmark.protocols import reported
from trtzoo.benchmark.warnings import symptoms
from trtzoo.builder.plan import BuildResult
from trtzoo.core.console import print_result
from trtzoo.core.records import SCHEMA, Failure, Record, Result, Weights
from trtzoo.core.statistics import percentile
from trtzoo.exporter.plan import ExportResult


class Origin(Record, frozen=True, kw_only=True):
    """Where weights came from: a publisher and its address, "file" and its name, or "seeded"."""

    source: str
    origin: str
    sha256: str


class FileLine(Record, frozen=True, kw_only=True):
    """A file that export or build made or kept; one that failed has an `error` and little else.

    `difference` is that of its logits, relative to the largest; `layers` counts an engine's layers by output type.
    """

    schema: int = SCHEMA
    kind: Literal["export", "build"]
    path: str
    model: str
    precision: str
    batch: int | str
    up_to_date: bool
    seconds: float
    bytes: int | None = None
    sha256: str | None = None
    weights: Origin | None = None
    difference: float | None = None
    layers: dict[str, int] | None = None
    peak_memory: int | None = None
    note: str = ""
    error: str = ""


class BenchLine(Record, frozen=True, kw_only=True):
    """A case's latency: the protocol's `statistic`, the ends of its 95 % interval and the 99th percentile of `samples` samples.

    A case that failed has a `failure` and none of them. `doubts` are warnings by name. `kept`: it was measured earlier.
    """

    schema: int = SCHEMA
    kind: Literal["bench"] = "bench"
    name: str
    model: str
    classes: int
    height: int
    width: int
    precision: str
    batch: int
    runtime: str
    device: str
    protocol: str
    conditions: tuple[str, ...]
    threads: int
    weights: Origin | None
    versions: dict[str, str]
    artifact_sha256: str
    started: str
    kept: bool
    statistic: str | None = None
    latency: float | None = None
    low: float | None = None
    high: float | None = None
    p99: float | None = None
    samples: int = 0
    doubts: dict[str, str]
    failure: Failure | None


class EvalLine(Record, frozen=True, kw_only=True):
    """How many of `images` images had their class first (`top1`) or among the first five (`top5`); `bad` could not be read.

    A file that could not be evaluated has its `name` and an `error`.
    """

    schema: int = SCHEMA
    kind: Literal["eval"] = "eval"
    name: str
    model: str | None = None
    precision: str | None = None
    runtime: str | None = None
    batch: int | None = None
    device: str | None = None
    weights: Origin | None = None
    artifact_sha256: str | None = None
    dataset: str | None = None
    fingerprint: str | None = None
    limit: int | None = None
    images: int | None = None
    top1: int | None = None
    top5: int | None = None
    bad: int | None = None
    seconds: float | None = None
    error: str = ""


def print_line(record: Record) -> None:
    """Print a record as one line of JSON."""
    print_result(msgspec.json.encode(record).decode())


def file_line(record: BuildResult | ExportResult) -> FileLine:
    sidecar = record.sidecar
    own_name = record.order.identity.model if isinstance(record, BuildResult) else record.order.name or record.order.model
    line = FileLine(
        kind="build" if isinstance(record, BuildResult) else "export",
        path=str(record.path),
        model=own_name,
        precision=record.order.precision,
        batch=record.order.batch,
        up_to_date=record.up_to_date,
        seconds=record.seconds,
        note=getattr(record, "note", ""),
        error=record.error,
    )
    if sidecar is None:
        return line
    origin = _origin(sidecar.weights)
    line = msgspec.structs.replace(line, bytes=sidecar.bytes, sha256=sidecar.sha256, weights=origin)
    if isinstance(sidecar, EngineSidecar):
        return msgspec.structs.replace(line, layers=sidecar.layers.types, peak_memory=sidecar.peak_memory)
    return msgspec.structs.replace(line, difference=sidecar.check.error)


def bench_line(result: Result, *, kept: bool) -> BenchLine:
    case, subject = result.case, result.subject
    line = BenchLine(
        name=result.name,
        model=case.model,
        classes=subject.classes,
        height=subject.height,
        width=subject.width,
        precision=case.precision,
        batch=case.batch,
        runtime=case.runtime,
        device=case.device,
        protocol=case.protocol,
        conditions=case.conditions,
        threads=result.threads,
        weights=_origin(result.weights),
        versions=result.versions,
        artifact_sha256=result.artifact_sha256,
        started=result.started,
        kept=kept,
        doubts={} if result.failure else dict(symptoms(result)),
        failure=result.failure,
    )
    if result.failure:
        return line
    found = reported(result)
    return msgspec.structs.replace(
        line,
        statistic=found.statistic,
        latency=found.latency,
        low=found.low,
        high=found.high,
        p99=percentile(found.samples, 0.99),
        samples=len(found.samples),
    )


def eval_line(record: Evaluation) -> EvalLine:
    return EvalLine(
        name=record.name,
        model=record.model,
        precision=record.precision,
        runtime=record.runtime,
        batch=record.batch,
        device=record.device.key,
        weights=_origin(record.weights),
        artifact_sha256=record.artifact_sha256,
        dataset=record.dataset,
        fingerprint=record.fingerprint,
        limit=record.limit,
        images=record.images,
        top1=record.top1,
        top5=record.top5,
        bad=len(record.bad),
        seconds=record.seconds,
    )


def _origin(weights: Weights | None) -> Origin | None:
    return Origin(source=weights.source, origin=weights.origin, sha256=weights.sha256) if weights else None
