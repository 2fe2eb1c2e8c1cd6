"""The document's four figures as values: accuracy against FLOPs, parameters, and two latencies of four images.

drawing.py draws them; nothing here needs its library.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS, reported
from trtzoo.core.records import Identity, Result
from trtzoo.models.table import MODELS
from trtzoo.report.published import document
from trtzoo.report.results import Group, groups
from trtzoo.report.tables.accuracy import comparable

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
    trained = [row for row in comparable(evaluations) if row.weights.source != "seeded"]
    known = groups(results)
    return [
        _counts("flops", "FLOPs", "FLOPs (G, 2 x multiply-accumulates)", "gflops", 1e9, trained),
        _counts("params", "parameters", "Parameters (M)", "mparams", 1e6, trained),
        _latency("t4", "fp32", known, trained),
        _latency("t4", "fp16", known, trained),
    ]


def _counts(name: str, quantity: str, axis: str, printed: str, unit: float, trained: list[Evaluation]) -> Picture:
    """Make a figure of a count: field `name` of the networks, in `unit`, and field `printed` of their published rows."""
    rows = document().models
    hollow, _ = _points({model: getattr(row, printed) for model, row in rows.items()})
    full, accuracy = _points({model: getattr(MODELS[model], name) / unit for model in rows}, "fp32", trained)
    caption = f"Hollow: as published. Full: counted exactly. {accuracy}"
    return Picture(name, f"Accuracy against {quantity}", axis, hollow, full, "counted exactly", caption)


def _latency(gpu: str, precision: str, known: list[Group], trained: list[Evaluation]) -> Picture:
    """Make a figure of latencies: published, and measured by the group that fits best.

    A group of the published GPU fits better than another, best one measured as the publisher did, then protocol trtzoo, then
    the most good results.
    """

    def fit(group: Group) -> tuple[bool, bool, bool, int]:
        same = group.gpu == gpu
        return same, same and PROTOCOLS[group.protocol].as_published, group.protocol == "trtzoo", len(_good(group))

    full: tuple[Point, ...] = ()
    label, sources = "", f"Nothing was measured at {precision.upper()}, batch {BATCH}."
    if fitting := [group for group in known if group.precision == precision and _good(group)]:
        group = max(fitting, key=fit)
        good, row = _good(group), PROTOCOLS[group.protocol]
        found = {model: reported(result) for model, result in good.items()}
        costs = {model: each.latency * 1e3 for model, each in found.items()}
        bars = {model: (each.low, each.high) for model, each in found.items()}
        full, accuracy = _points(costs, precision, trained, bars)
        label, other = f"measured, {group.short}", "" if group.gpu == gpu else " (other hardware than the published)"
        protocol = row.name if row.as_published else f"{row.name} (not the published one)"
        sources = (
            f"Full: measured on {group.name}{other}. Protocol {protocol}: {row.statistic}; bars: its 95 % interval. {accuracy}"
        )
    return Picture(
        f"{gpu}-{precision}-b{BATCH}",
        f"Accuracy against latency, {precision.upper()}, batch {BATCH}",
        f"Milliseconds for {BATCH} images (logarithmic)",
        _points({model: batches[f"b{BATCH}"] for model, batches in document().latency[gpu][precision].items()})[0],
        full,
        label,
        f"Hollow: published, Tesla T4. {sources}",
    )


def _good(group: Group) -> dict[str, Result]:
    """Return the group's good results at BATCH by model."""
    rows = {name: Identity(model=name, network=name).row for name in MODELS}
    cells = {name: group.results.get((row, BATCH)) for name, row in rows.items()}
    return {model: result for model, result in cells.items() if result and not result.failure}


def _points(
    costs: dict[str, float], precision: str = "", trained: Sequence[Evaluation] = (), bars: Mapping[str, Sequence[float]] = {}
) -> tuple[tuple[Point, ...], str]:
    """Make points, and describe the source of their accuracy; `bars` are in seconds.

    It is the newest one measured, or else the published one with the four digits of the publisher's own figures.
    """
    newest = sorted((row for row in trained if row.precision == precision), key=lambda row: row.started)
    measured = {row.model: row.top1 / row.images for row in newest}
    points = []
    for model, x in costs.items():
        low, high = (end * 1e3 for end in bars[model]) if model in bars else (x, x)
        points.append(Point(model, x, measured.get(model, document().later[model].top1), low, high))
    known = [model in measured for model in costs]
    source = "measured" if all(known) else "measured if evaluated, else published" if any(known) else "published"
    return tuple(points), f"Their accuracy: {source}."


def pareto(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other point beats in both cost and accuracy, by rising cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.top1)):
        if not front or point.top1 > front[-1].top1:
            front.append(point)
    return front
