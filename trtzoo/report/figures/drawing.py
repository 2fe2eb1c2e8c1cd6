"""Drawing of figures, as PNG and SVG.

Families differ by marker and line as well as by colour. Published points are hollow and measured ones full; the Pareto front
(nothing is both faster or smaller and more accurate) is a grey staircase. Equal inputs give equal bytes.
"""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from trtzoo.core.files import replacing
from trtzoo.report.figures.pictures import Picture, Point, pareto


class Look(msgspec.Struct, frozen=True):
    """How a family is drawn."""

    title: str
    marker: str
    size: float
    line: Any
    colour: str


LOOKS = {
    "densenet": Look("DenseNet", "o", 8, ":", "#8f2d87"),
    "dpn": Look("DPN", "*", 13, "--", "#1f5fd0"),
}
"""Colours tell apart for readers without red or green, too."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "svg.hashsalt": "trtzoo",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
}


def write(picture: Picture, folder: Path) -> list[Path]:
    """The figure as PNG and as SVG, both or neither. Raises StoreError where they cannot be written."""
    names = [f"{picture.name}.{kind}" for kind in ("png", "svg")]
    with mpl.rc_context(STYLE), replacing(folder / names[0], lock=False) as work:
        figure = draw(picture)
        figure.savefig(work / names[0], dpi=150, metadata={"Software": None})
        figure.savefig(work / names[1], metadata={"Date": None, "Creator": None})
    return [folder / name for name in names]


def draw(picture: Picture) -> Figure:
    """The figure, 8 by 5.6 inches."""
    figure = Figure(figsize=(8, 5.6), facecolor="white")
    axes = figure.add_axes((0.085, 0.19, 0.89, 0.73))
    axes.set_title(picture.title, loc="left", fontweight="bold")
    axes.set_xlabel(picture.axis)
    axes.set_ylabel("Top-1 accuracy, ImageNet-1k")
    _scale(axes, picture)
    for points, full in ((picture.published, False), (picture.measured, True)):
        _front(axes, points, full)
        for family in LOOKS:
            _family(axes, [point for point in points if point.family == family], full)
    _legend(axes, picture)
    _labels(figure, axes, picture)
    figure.text(0.012, 0.02, _folded(picture.caption), fontsize=8.5, color="#444444", va="bottom")
    return figure


def _scale(axes: Axes, picture: Picture) -> None:
    points = (*picture.published, *picture.measured)
    low, high = min(point.low for point in points), max(point.high for point in points)
    if "logarithmic" in picture.axis:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.35)
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low / 1.25 <= tick <= high * 1.35]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
    else:
        axes.set_xlim(0, high * 1.12)
    accuracies = [point.top1 for point in points]
    room = 0.12 * (max(accuracies) - min(accuracies)) + 1e-3
    axes.set_ylim(min(accuracies) - room, max(accuracies) + room)


def _front(axes: Axes, points: tuple[Point, ...], full: bool) -> None:
    """A staircase: from each point of the front right to the next, then up."""
    front, colour = pareto(points), "#9a9a9a" if full else "#cfcfcf"
    xs, ys = [point.x for point in front], [point.top1 for point in front]
    axes.step(xs, ys, where="post", color=colour, linewidth=1.6, zorder=1)


def _family(axes: Axes, points: list[Point], full: bool) -> None:
    if not points:
        return
    look, row = LOOKS[points[0].family], sorted(points, key=lambda point: point.x)
    axes.errorbar(
        [point.x for point in row],
        [point.top1 for point in row],
        xerr=[[point.x - point.low for point in row], [point.high - point.x for point in row]] if full else None,
        fmt=look.marker,
        linestyle=look.line,
        linewidth=1.1 if full else 0.7,
        color=look.colour,
        markersize=look.size,
        markerfacecolor=look.colour if full else "white",
        markeredgewidth=1.2,
        capsize=3,
        zorder=3 if full else 2,
    )


def _legend(axes: Axes, picture: Picture) -> None:
    entries = [_entry(look, look.title, True) for look in LOOKS.values()]
    entries.append(Line2D([], [], marker="s", linestyle="", color="#444444", markerfacecolor="white", label="published"))
    if picture.measured:
        entries.append(Line2D([], [], marker="s", linestyle="", color="#444444", label=picture.full))
    entries.append(Line2D([], [], color="#9a9a9a", linewidth=1.6, label="Pareto front"))
    axes.legend(handles=entries, loc="lower right", frameon=True, framealpha=0.95, edgecolor="#dddddd")


def _entry(look: Look, label: str, full: bool) -> Line2D:
    return Line2D(
        [], [], marker=look.marker, linestyle=look.line, color=look.colour, markersize=look.size, linewidth=1.1, label=label
    )


Box = tuple[float, float, float, float]
"""Left, low, right and high, in pixels."""

PLACES = (
    (8, 7),
    (8, -13),
    (-8, 7),
    (-8, -13),
    (0, 11),
    (0, -17),
    (12, -3),
    (-12, -3),
    (14, 14),
    (-14, 14),
    (14, -22),
    (-14, -22),
)
"""Where a label may stand, in points from its own; the first that hides nothing is taken."""


def _labels(figure: Figure, axes: Axes, picture: Picture) -> None:
    """Each network's name at its point; once where the published and the measured one are close."""
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    figure.draw_without_rendering()
    spots = [axes.transData.transform((point.x, point.top1)) for point in (*picture.published, *picture.measured)]
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    legend = axes.get_legend()
    if legend:
        taken.append(_box(legend, renderer))
    named: list[tuple[str, float, float]] = []
    for point in (*picture.measured, *picture.published):
        x, y = axes.transData.transform((point.x, point.top1))
        if any(name == point.model and abs(x - left) < 45 and abs(y - low) < 30 for name, left, low in named):
            continue
        named.append((point.model, x, y))
        taken.append(_label(axes, point, taken, renderer))


def _label(axes: Axes, point: Point, taken: list[Box], renderer: Any) -> Box:
    """Writes the name where it covers the least, and returns the box it takes."""
    options: list[tuple[float, int, Box, tuple[int, int]]] = []
    for place in PLACES:
        text = _annotation(axes, point, place)
        box = _box(text, renderer)
        options.append((sum(_overlap(box, other) for other in taken) + _outside(axes, box), len(options), box, place))
        text.remove()
    _, _, box, place = min(options)
    _annotation(axes, point, place)
    return box


def _annotation(axes: Axes, point: Point, place: tuple[int, int]) -> Annotation:
    side = "left" if place[0] > 0 else "right" if place[0] < 0 else "center"
    name = LOOKS[point.family].title + point.model.removeprefix(point.family)
    colour = LOOKS[point.family].colour
    text = axes.annotate(name, (point.x, point.top1), place, textcoords="offset points", ha=side, fontsize=8.5, color=colour)
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return text


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes (left, low, right, high) share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(axes: Axes, box: Box) -> float:
    """The part of a box that is not over the axes."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, _box(axes))


def _box(artist: Any, renderer: Any = None) -> Box:
    left, low, right, high = artist.get_window_extent(renderer).extents
    return float(left), float(low), float(right), float(high)


def _folded(text: str, width: int = 118) -> str:
    return "\n".join(textwrap.wrap(text, width))
