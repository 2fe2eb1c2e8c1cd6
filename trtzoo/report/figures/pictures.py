"""The document's four figures as values: accuracy against FLOPs, parameters, and two latencies of four images.

drawing.py draws them; nothing here needs its library.
"""

from collections.abc import Iterable

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
    known, accuracy, rows = groups(results), _measured_accuracy(evaluations), document().models
    gflops = {model: row.gflops for model, row in rows.items()}, {model: MODELS[model].flops / 1e9 for model in rows}
    mparams = {model: row.mparams for model, row in rows.items()}, {model: MODELS[model].params / 1e6 for model in rows}
    return [
        _counts("flops", "FLOPs", "FLOPs (G, 2 x multiply-accumulates)", *gflops, accuracy),
        _counts("params", "parameters", "Parameters (M)", *mparams, accuracy),
        _latency("t4", "fp32", known, accuracy),
        _latency("t4", "fp16", known, accuracy),
    ]


Accuracies = dict[tuple[str, str], float]


def _measured_accuracy(evaluations: Iterable[Evaluation]) -> Accuracies:
    """Return top-1 accuracy by model and precision, from the newest evaluation with trained weights and published sizes."""
    good = [
        row for row in evaluations if row.images and row.weights.source != "seeded" and (row.classes, row.size) == (1000, 224)
    ]
    return {(row.model, row.precision): row.top1 / row.images for row in sorted(good, key=lambda row: row.started)}


def _counts(
    name: str, quantity: str, axis: str, printed: dict[str, float], exact: dict[str, float], accuracy: Accuracies
) -> Picture:
    caption = f"Hollow: as published. Full: counted exactly. {_accuracy_source(accuracy, 'fp32', exact)}"
    title, points = f"Accuracy against {quantity}", _points(exact, "fp32", accuracy)
    return Picture(name, title, axis, _points(printed), points, "counted exactly", caption)


def _latency(gpu: str, precision: str, known: list[Group], accuracy: Accuracies) -> Picture:
    printed = {model: by_batch[f"b{BATCH}"] for model, by_batch in document().latency[gpu][precision].items()}
    group = max(known, key=lambda group: _rank(group, gpu, precision), default=None)
    good = _good(group, precision) if group else {}
    full, sources = "", f"Nothing was measured at {precision.upper()}, batch {BATCH}."
    if group and good:
        other = "" if group.gpu == gpu else " (other hardware than the published)"
        row = PROTOCOLS[next(iter(good.values())).case.protocol]
        bars = "; bars: its 95 % interval" if row.statistic == "median" else ""
        sources = f"Full: measured on {group.name}{other}. Protocol {row.name}: {row.statistic}{bars}. "
        sources += _accuracy_source(accuracy, precision, good)
        full = f"measured, {group.short}"
    return Picture(
        f"{gpu}-{precision}-b{BATCH}",
        f"Accuracy against latency, {precision.upper()}, batch {BATCH}",
        f"Milliseconds for {BATCH} images (logarithmic)",
        _points(printed),
        _points({model: reported_latency(row) * 1e3 for model, row in good.items()}, precision, accuracy, good),
        full,
        f"Hollow: published, Tesla T4. {sources}",
    )


def _good(group: Group, precision: str) -> dict[str, Result]:
    """Return the group's good results at BATCH by model."""
    cells = group.of(precision)
    return {model: cells[model, BATCH] for model in MODELS if (model, BATCH) in cells and not cells[model, BATCH].failure}


def _rank(group: Group, gpu: str, precision: str) -> tuple[bool, bool, int]:
    """Prefer the published GPU, then protocol trtzoo, then the group with the most good results."""
    good = list(_good(group, precision).values())
    return (bool(good) and group.gpu == gpu, bool(good) and good[0].case.protocol == "trtzoo", len(good))


def _points(
    costs: dict[str, float], precision: str = "", accuracy: Accuracies | None = None, results: dict[str, Result] | None = None
) -> tuple[Point, ...]:
    """Make points with measured accuracy, or else the published one with the four digits of the publisher's own figures.

    Results measured by a protocol that reports the median have the median's 95 % interval.
    """
    points = []
    for model, x in costs.items():
        result = (results or {}).get(model)
        low = high = x
        if result and PROTOCOLS[result.case.protocol].statistic == "median":
            known = interval([sample.total for sample in result.samples])
            low, high = known.low * 1e3, known.high * 1e3
        points.append(Point(model, x, (accuracy or {}).get((model, precision), document().later[model].top1), low, high))
    return tuple(points)


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
