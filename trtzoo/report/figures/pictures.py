"""The document's four figures as values: accuracy against FLOPs, parameters, and two latencies of four images.

drawing.py draws them; nothing here needs its library.
"""

from collections.abc import Callable, Iterable

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.core.records import Result
from trtzoo.core.statistics import interval
from trtzoo.models.table import MODELS
from trtzoo.report.groups import Group, groups
from trtzoo.report.published import document

BATCH = 4


class Point(msgspec.Struct, frozen=True):
    """A model's point; `low` and `high` are the ends of its error bar."""

    model: str
    x: float
    top1: float
    low: float
    high: float

    @property
    def family(self) -> str:
        return MODELS[self.model].family


class Picture(msgspec.Struct, frozen=True):
    """One figure's content. `full` is the legend's label of the measured points; `caption` gives the sources."""

    name: str
    title: str
    axis: str
    published: tuple[Point, ...]
    measured: tuple[Point, ...]
    full: str
    caption: str


def pictures(results: Iterable[Result], evaluations: Iterable[Evaluation] = ()) -> list[Picture]:
    """Make the four figures of published and measured points."""
    known, accuracy = groups(results), _measured_accuracy(evaluations)
    return [
        _counts("flops", "FLOPs", "G, 2 x multiply-accumulates", lambda row: row.gflops, lambda row: row.flops / 1e9, accuracy),
        _counts("params", "parameters", "M", lambda row: row.mparams, lambda row: row.params / 1e6, accuracy),
        _latency("t4-fp32-b4", "t4", "fp32", known, accuracy),
        _latency("t4-fp16-b4", "t4", "fp16", known, accuracy),
    ]


def _measured_accuracy(evaluations: Iterable[Evaluation]) -> dict[tuple[str, str], float]:
    """Return top-1 accuracy by model and precision, from the newest evaluation with trained weights and published sizes."""
    good = [
        row for row in evaluations if row.images and row.weights.source != "seeded" and (row.classes, row.size) == (1000, 224)
    ]
    return {(row.model, row.precision): row.top1 / row.images for row in sorted(good, key=lambda row: row.started)}


Accuracies = dict[tuple[str, str], float]


def _counts(
    name: str, quantity: str, unit: str, printed: Callable[..., float], exact: Callable[..., float], accuracy: Accuracies
) -> Picture:
    rows = document().models
    return Picture(
        name,
        f"Accuracy against {quantity}",
        f"{quantity[0].upper()}{quantity[1:]} ({unit})",
        tuple(_point(model, printed(row), _printed_top1(model)) for model, row in rows.items()),
        tuple(_point(model, exact(MODELS[model]), _top1(model, "fp32", accuracy)) for model in rows),
        "counted exactly",
        f"Hollow: as published. Full: counted exactly. {_accuracy_source(accuracy, 'fp32', rows)}",
    )


def _latency(name: str, gpu: str, precision: str, known: list[Group], accuracy: Accuracies) -> Picture:
    printed = document().latency[gpu][precision]
    group = _shown(known, gpu, precision)
    here = {model: row for (model, batch), row in group.of(precision).items() if batch == BATCH} if group else {}
    good = {model: here[model] for model in MODELS if model in here and not here[model].failure}
    points = tuple(_timed(model, row, _top1(model, precision, accuracy)) for model, row in good.items())
    if not group or not points:
        sources = f"Nothing was measured at {precision.upper()}, batch {BATCH}."
    else:
        other = "" if group.gpu == gpu else " (other hardware than the published)"
        statistic = _statistic(next(iter(good.values())))
        sources = f"Full: measured on {group.name}{other}. {statistic} {_accuracy_source(accuracy, precision, good)}"
    return Picture(
        name,
        f"Accuracy against latency, {precision.upper()}, batch {BATCH}",
        f"Milliseconds for {BATCH} images (logarithmic)",
        tuple(_point(model, by_batch[f"b{BATCH}"], _printed_top1(model)) for model, by_batch in printed.items()),
        points,
        f"measured, {group.short}" if group else "",
        f"Hollow: published, Tesla T4. {sources}",
    )


def _shown(known: list[Group], gpu: str, precision: str) -> Group | None:
    """Return the group to draw: the published GPU's, or else the group with the most good results."""

    def rank(group: Group) -> tuple[bool, bool, int]:
        good = [row for (_, batch), row in group.of(precision).items() if batch == BATCH and not row.failure]
        return (bool(good) and group.gpu == gpu, bool(good) and good[0].case.protocol == "trtzoo", len(good))

    best = max(known, key=rank, default=None)
    return best if best and rank(best)[2] else None


def _timed(model: str, result: Result, top1: float) -> Point:
    """Return the reported latency with the interval of the median."""
    known = interval([sample.total for sample in result.samples])
    x = reported_latency(result)
    ends = (known.low, known.high) if PROTOCOLS[result.case.protocol].statistic == "median" else (x, x)
    return Point(model, x * 1e3, top1, ends[0] * 1e3, ends[1] * 1e3)


def _point(model: str, x: float, top1: float) -> Point:
    return Point(model, x, top1, x, x)


def _top1(model: str, precision: str, accuracy: Accuracies) -> float:
    return accuracy.get((model, precision), _printed_top1(model))


def _printed_top1(model: str) -> float:
    """Return the accuracy with the four digits of the publisher's own figures."""
    return document().later[model].top1


def _statistic(result: Result) -> str:
    row = PROTOCOLS[result.case.protocol]
    bars = "; bars: its 95 % interval" if row.statistic == "median" else ""
    return f"Protocol {row.name}: {row.statistic}{bars}."


def _accuracy_source(accuracy: Accuracies, precision: str, models: Iterable[str]) -> str:
    """Describe the source of the full points' accuracy."""
    evaluated = [(model, precision) in accuracy for model in models]
    if all(evaluated):
        return "Their accuracy: measured."
    return "Their accuracy: measured if evaluated, else published." if any(evaluated) else "Their accuracy: published."


def pareto(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other point beats in both cost and accuracy, by rising cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.top1)):
        if not front or point.top1 > front[-1].top1:
            front.append(point)
    return front
