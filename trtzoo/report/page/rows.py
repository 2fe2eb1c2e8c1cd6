"""The page's rows: one for each result and each published number, as plain values. Times are in seconds."""

from collections.abc import Iterable, Sequence

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.records import Result
from trtzoo.core.statistics import interval, percentile
from trtzoo.hardware.gpus import GPUS, identify_gpu
from trtzoo.models.table import MODELS
from trtzoo.report import roofline
from trtzoo.report.published import document
from trtzoo.report.results import metric_seconds
from trtzoo.report.wording import device_text

BINS = 40


class Histogram(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts of samples in bins of `width` seconds from `start` on; `beyond` are slower than the last, up to `slowest`."""

    start: float
    width: float
    counts: list[int]
    beyond: int
    slowest: float


class PageRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row; None is shown as a dash. `state` is measured, doubtful, failed or published, and `note` says why.

    `low` and `high` are the 95 % interval of a median. `published` is the latency published for the GPU called `gpu`; `ratio`,
    measured / published, exists for the same GPU only. `share` is limit / latency. `top1` is a fraction: of labelled images
    if `evaluated`, else as published.
    """

    model: str
    precision: str
    batch: int
    device: str
    runtime: str
    protocol: str
    state: str
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    p99: float | None = None
    published: float | None = None
    gpu: str = ""
    ratio: float | None = None
    share: float | None = None
    top1: float | None = None
    evaluated: bool = False
    note: str = ""
    marks: tuple[str, ...] = ()
    histogram: Histogram | None = None


def measured(result: Result, evaluations: Iterable[Evaluation] = ()) -> PageRow:
    """Make the row of a result, good or failed. Without published numbers of its GPU, the T4's are beside it."""
    case, device, failure = result.case, result.device, result.failure
    own = identify_gpu(device.name, device.sm).name if device.kind == "gpu" else ""
    gpu = own if own in document().latency else "t4"
    printed = document().seconds(gpu, case.precision, case.model, case.batch)
    seconds = None if failure else reported_latency(result)
    samples = [] if failure else metric_seconds(result)
    ends = interval(samples) if samples and PROTOCOLS[case.protocol].statistic == "median" else None
    note = f"{failure.kind}: {failure.reason}" if failure else warning_sentence(result)
    accuracy = _evaluated(result, evaluations)
    return PageRow(
        model=case.model,
        precision=case.precision,
        batch=case.batch,
        device=device_text(device),
        runtime=case.runtime,
        protocol=case.protocol + {None: "", True: ", CUDA graph", False: ", no CUDA graph"}[case.cuda_graph],
        state="failed" if failure else "doubtful" if note else "measured",
        seconds=seconds,
        low=ends.low if ends else None,
        high=ends.high if ends else None,
        p99=percentile(samples, 0.99) if samples else None,
        published=printed,
        gpu=GPUS[gpu].title if printed else "",
        ratio=seconds / printed if gpu == own and seconds and printed else None,
        share=roofline.limit_share(result),
        top1=_printed_top1(case.model) if accuracy is None else accuracy,
        evaluated=accuracy is not None,
        note=note,
        marks=() if failure else _marks(result),
        histogram=histogram(samples) if samples else None,
    )


def published() -> list[PageRow]:
    """Make a row for each published latency."""
    return [
        _printed(gpu, precision, model, int(batch.removeprefix("b")), milliseconds / 1000)
        for gpu, by_precision in document().latency.items()
        for precision, by_model in by_precision.items()
        for model, by_batch in by_model.items()
        for batch, milliseconds in by_batch.items()
    ]


def _printed(gpu: str, precision: str, model: str, batch: int, seconds: float) -> PageRow:
    limit = roofline.limit_of_published(gpu, MODELS[model], precision, batch)
    return PageRow(
        model=model,
        precision=precision,
        batch=batch,
        device=f"{GPUS[gpu].title}, published",
        runtime="TensorRT of 2020",
        protocol="as published",
        state="published",
        published=seconds,
        gpu=GPUS[gpu].title,
        share=limit.seconds / seconds if limit else None,
        top1=_printed_top1(model),
    )


def _printed_top1(model: str) -> float | None:
    """Return the published top-1 accuracy, or None for an unpublished model."""
    row = document().models.get(model)
    return row.top1 if row else None


def histogram(samples: Sequence[float]) -> Histogram:
    """Count samples in BINS bins to the 99th percentile, the slower ones as one number. Raises ValueError without samples."""
    start, end = min(samples), percentile(samples, 0.99)
    width = (end - start) / BINS
    counts = [0] * (BINS if width else 1)
    for sample in samples:
        if sample <= end:
            counts[min(int((sample - start) / width), BINS - 1) if width else 0] += 1
    return Histogram(start, width, counts, len(samples) - sum(counts), max(samples))


def _marks(result: Result) -> tuple[str, ...]:
    """Return warnings about weights and outputs."""
    weights, check = result.weights, result.check
    found = {
        "seeded weights": weights is not None and weights.source == "seeded",
        "outputs not checked": check is None,
        "wrong outputs": check is not None and check.error > check.tolerance,
    }
    return tuple(mark for mark, holds in found.items() if holds)


def _evaluated(result: Result, evaluations: Iterable[Evaluation]) -> float | None:
    """Return the top-1 accuracy evaluated with the same weights, precision, runtime and device; seeded weights have none."""
    case = result.case
    wanted = (case.model, case.precision, case.runtime, result.device.key, result.weights, (1000, 224))
    for row in evaluations:
        same = (row.model, row.precision, row.runtime, row.device.key, row.weights, (row.classes, row.size)) == wanted
        if same and row.images and row.weights.source != "seeded":
            return row.top1 / row.images
    return None
