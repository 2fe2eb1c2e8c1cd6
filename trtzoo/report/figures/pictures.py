"""The document's four figures as values: accuracy against FLOPs, parameters, and two latencies of four images.

Beside the published networks they show every other that was measured. drawing.py draws them; nothing here needs its library.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS, reported
from trtzoo.core.records import Identity, Result
from trtzoo.models.table import zoo
from trtzoo.report.published import document
from trtzoo.report.results import OTHER, Group, family_of, groups, place
from trtzoo.report.roofline import work_of
from trtzoo.report.tables.accuracy import comparable, whole
from trtzoo.runtimes.registry import RUNTIMES

BATCH = 4


class Point(msgspec.Struct, frozen=True):
    """A network's point; `low` and `high` are the ends of its error bar. `top1` is None if nobody evaluated it."""

    model: str
    x: float
    top1: float | None
    low: float
    high: float
    family: str = OTHER


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
    real = [row for row in results if row.case.runtime not in RUNTIMES or not RUNTIMES[row.case.runtime].hidden]
    usual = [row for row in whole(evaluations)[0] if row.weights.source != "seeded"]
    trained = [row for row in usual if comparable([row]) or not row.subject.published]
    known = groups(real)
    return [
        _counts("flops", "FLOPs", "FLOPs (G, 2 x multiply-accumulates)", "gflops", 1e9, real, trained),
        _counts("params", "parameters", "Parameters (M)", "mparams", 1e6, real, trained),
        _latency("t4", "fp32", known, trained),
        _latency("t4", "fp16", known, trained),
    ]


def _counts(
    name: str, quantity: str, axis: str, printed: str, unit: float, results: list[Result], trained: list[Evaluation]
) -> Picture:
    """Make a figure of a count: field `name` of the networks, in `unit`, and field `printed` of their published rows."""
    shipped = [Identity(model=name, network=name) for name in document().models]
    own = [Identity(model=row.name, network=row.network) for row in zoo().values() if row.macs]
    known = {each.row: each for each in [*shipped, *own, *(row.subject for row in results), *(row.subject for row in trained)]}
    costs = {row: getattr(work, name) / unit for row, each in known.items() if (work := work_of(each))}
    hollow, _ = _points({each.row: getattr(document().models[each.model], printed) for each in shipped}, known)
    full, accuracy = _points(costs, known, "fp32", trained)
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
        subjects = {each: result.subject for each, result in good.items()}
        found = {each: reported(result) for each, result in good.items()}
        costs = {each: one.latency * 1e3 for each, one in found.items()}
        bars = {each: (one.low, one.high) for each, one in found.items()}
        full, accuracy = _points(costs, subjects, precision, trained, bars)
        label, other = f"measured, {group.short}", "" if group.gpu == gpu else " (other hardware than the published)"
        protocol = row.name if row.as_published else f"{row.name} (not the published one)"
        sources = (
            f"Full: measured on {group.name}{other}. Protocol {protocol}: {row.statistic}; bars: its 95 % interval. {accuracy}"
        )
        seeded = sorted(
            {result.subject.title for result in good.values() if result.weights and result.weights.source == "seeded"}
        )
        if seeded:
            label += ", SEEDED weights"
            which = "" if len(seeded) == len(good) else f" of {len(seeded)} of the {len(good)} networks"
            sources += f" SEEDED weights{which}: their latencies are valid, the accuracies are of other weights."
    cells = document().latency[gpu][precision]
    published = {name: Identity(model=name, network=name) for name in cells}
    return Picture(
        f"{gpu}-{precision}-b{BATCH}",
        f"Accuracy against latency, {precision.upper()}, batch {BATCH}",
        f"Milliseconds for {BATCH} images (logarithmic)",
        _points(
            {each.row: cells[name][f"b{BATCH}"] for name, each in published.items()},
            {each.row: each for each in published.values()},
        )[0],
        full,
        label,
        f"Hollow: published, Tesla T4. {sources}",
    )


Row = tuple[str, str, str]


def _good(group: Group) -> dict[Row, Result]:
    """Return the group's good results at BATCH, by Identity.row."""
    return {row: result for (row, batch), result in group.results.items() if batch == BATCH and not result.failure}


def _points(
    costs: Mapping[Row, float],
    subjects: Mapping[Row, Identity],
    precision: str = "",
    trained: Sequence[Evaluation] = (),
    bars: Mapping[Row, Sequence[float]] = {},
) -> tuple[tuple[Point, ...], str]:
    """Make points, and describe the source of their accuracy; `bars` are in seconds.

    It is the newest one measured, or else the published one with the four digits of the publisher's own figures, if any.
    """
    newest = sorted((row for row in trained if row.precision == precision), key=lambda row: row.started)
    measured = {row.subject.row: row.top1 / row.images for row in newest}
    points = []
    for row, x in sorted(costs.items(), key=lambda item: place(subjects[item[0]])):
        subject = subjects[row]
        later = document().later.get(subject.network) if subject.published else None
        low, high = (end * 1e3 for end in bars[row]) if row in bars else (x, x)
        top1 = measured.get(row, later.top1 if later else None)
        points.append(Point(subject.title, x, top1, low, high, family_of(subject)))
    known = [row in measured for row in costs]
    source = "measured" if all(known) else "measured if evaluated, else published" if any(known) else "published"
    return tuple(points), f"Their accuracy: {source}."


def pareto(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other point beats in both cost and accuracy, by rising cost."""
    front: list[tuple[float, Point]] = []
    known = [(point.top1, point) for point in points if point.top1 is not None]
    for top1, point in sorted(known, key=lambda pair: (pair[1].x, -pair[0])):
        if not front or top1 > front[-1][0]:
            front.append((top1, point))
    return [point for _, point in front]
