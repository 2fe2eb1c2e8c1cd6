"""The page's rows: one for each result and each published number, as plain values. Times are in seconds."""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import reported
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.records import Result
from trtzoo.core.statistics import percentile
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS
from trtzoo.report import roofline
from trtzoo.report.published import PublishedCell, document
from trtzoo.report.results import condition_texts, device_text, family_of, known_gpu, ratio_to_published
from trtzoo.report.tables.accuracy import whole
from trtzoo.report.verdict import Verdict, verdict_of, verdict_text
from trtzoo.runtimes.registry import RUNTIMES

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

    `low` and `high` are the 95 % interval of `seconds`. `published` is the latency published for the GPU called `gpu`; `ratio`,
    measured / published, exists for the same GPU and a protocol that measures as the publisher did. `share` is limit / latency.
    `top1` is a fraction: of labelled images if `evaluated`, else as published. `verdict` says whether the precision pays.
    """

    model: str
    family: str
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
    verdict: str = ""
    note: str = ""
    marks: tuple[str, ...] = ()
    histogram: Histogram | None = None


def measured(result: Result, evaluations: Iterable[Evaluation] = (), verdicts: Iterable[Verdict] = ()) -> PageRow:
    """Make the row of a result, good or failed. Without published numbers of its GPU, the T4's are beside it.

    Its accuracy was evaluated with the same weights, precision, runtime and device; seeded weights have none.
    """
    case, device, failure, weights, check = result.case, result.device, result.failure, result.weights, result.check
    own = known_gpu(device)
    gpu = own.name if own and own.name in document().latency else "t4"
    subject, usual = result.subject, result.subject.model if result.subject.published else ""
    printed = document().seconds(gpu, case.precision, usual, case.batch)
    found = None if failure else reported(result)
    note = f"{failure.kind}: {failure.reason}" if failure else warning_sentence(result)
    share = roofline.limit_share(result)
    seeded = weights is not None and weights.source == "seeded"
    marks = {
        "seeded weights": seeded,
        "outputs not checked": check is None,
        "not measured: this runtime computes nothing": case.runtime in RUNTIMES and RUNTIMES[case.runtime].hidden,
        "faster than its limit": (share or 0) > 1,
        "wrong outputs": check is not None and check.error > check.tolerance,
    }
    wanted = (subject.row, subject.tag, case.precision, case.runtime, device.key)
    same = [row for row in whole(evaluations)[0] if _about(row) == wanted]
    evaluated = None if seeded or not same else same[-1].top1 / same[-1].images
    return PageRow(
        model=subject.title,
        family=family_of(subject),
        precision=case.precision,
        batch=case.batch,
        device=device_text(device),
        runtime=case.runtime,
        protocol=", ".join((case.protocol, *condition_texts(case))),
        state="failed" if failure else "doubtful" if note else "measured",
        seconds=found.latency if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        p99=percentile(found.samples, 0.99) if found else None,
        published=printed,
        gpu=GPUS[gpu].title if printed else "",
        ratio=ratio_to_published(result),
        share=share,
        top1=getattr(document().models.get(usual), "top1", None) if evaluated is None else evaluated,
        evaluated=evaluated is not None,
        verdict=verdict_text(verdict_of(result, verdicts)),
        note=note,
        marks=() if failure else tuple(mark for mark, holds in marks.items() if holds),
        histogram=histogram(found.samples) if found else None,
    )


def _about(row: Evaluation) -> tuple[object, ...]:
    return (row.subject.row, row.subject.tag, row.precision, row.runtime, row.device.key)


def published(cells: Iterable[PublishedCell]) -> list[PageRow]:
    """Make a row for each of the published latencies."""
    return [
        PageRow(
            model=model,
            family=MODELS[model].family,
            precision=precision,
            batch=batch,
            device=f"{GPUS[gpu].title}, published",
            runtime="TensorRT of 2020",
            protocol="as published",
            state="published",
            published=seconds,
            gpu=GPUS[gpu].title,
            share=limit.seconds / seconds if limit else None,
            top1=document().models[model].top1,
        )
        for gpu, precision, model, batch, seconds in cells
        for limit in [roofline.limit_of_published(gpu, MODELS[model], precision, batch)]
    ]


def histogram(samples: Sequence[float]) -> Histogram:
    """Count samples in BINS bins to the 99th percentile, the slower ones as one number. Raises ValueError without samples."""
    start, end = min(samples), percentile(samples, 0.99)
    bins = BINS if end - start > 1e-9 * end else 1  # NumPy refuses bins of no width
    counts = np.histogram(samples, bins, (start, end))[0].tolist()
    return Histogram(start, (end - start) / bins, counts, len(samples) - sum(counts), max(samples))
