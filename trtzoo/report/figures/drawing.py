"""Draw figures as PNG and SVG.

Families differ by marker and line as well as by colour. Published points are hollow, measured points are full, and the Pareto
front is a grey staircase. Equal inputs give equal bytes.
"""

import textwrap
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from trtzoo.core.console import one_line
from trtzoo.core.files import replacing
from trtzoo.report.figures.pictures import Picture, Point, pareto
from trtzoo.report.published import read_toml

TABLES = read_toml("looks.toml")
LOOKS: dict[str, dict[str, Any]] = TABLES["families"]  # of a family's points and line
FRONT, INK = "#9a9a9a", "#444444"
UNKNOWN = "accuracy unknown"
WIDTH, LINE = 8.0, 0.15  # inches: the figure's width, and the height of a line of the caption


def write(picture: Picture, folder: Path) -> list[Path]:
    """Write the figure as PNG and SVG, both or neither. Raises StoreError if they cannot be written."""
    names = [f"{picture.name}.{kind}" for kind in ("png", "svg")]
    with mpl.rc_context(TABLES["style"]), warnings.catch_warnings(), replacing(folder / names[0], lock=False) as work:
        warnings.filterwarnings("ignore", "Glyph")  # a name may have letters that the font lacks; they are drawn as boxes
        figure = draw(picture)
        figure.savefig(work / names[0], dpi=150, metadata={"Software": None})
        figure.savefig(work / names[1], metadata={"Date": None, "Creator": None})
    return [folder / name for name in names]


def draw(picture: Picture) -> Figure:
    """Draw the figure, 8 inches wide. Its texts quote results: they are short, and SVG can have them."""
    caption = textwrap.fill(_short(picture.caption, 900), 118)
    below = 0.65 + LINE * (caption.count("\n") + 1)
    height = 4.7 + below
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    axes = figure.add_axes((0.085, below / height, 0.89, 3.9 / height))
    figure.text(0.085, 1 - 0.12 / height, picture.title, fontweight="bold", fontsize=12.5, va="top")
    axes.set_xlabel(picture.axis)
    axes.set_ylabel("Top-1 accuracy, ImageNet-1k")
    floor = _scale(axes, picture)
    looks = _looks(picture)
    for points, full in ((picture.published, False), (picture.measured, True)):
        front = pareto(points)  # drawn from each point right to the next, then up
        xs, ys = [point.x for point in front], [_height(point, floor) for point in front]
        axes.step(xs, ys, where="post", color=FRONT if full else "#cfcfcf", linewidth=1.6, zorder=1)
        for family, look in looks.items():
            own = sorted((point for point in points if point.family == family), key=lambda point: point.x)
            if own:
                bars = [[point.x - point.low for point in own], [point.high - point.x for point in own]]
                axes.errorbar(
                    [point.x for point in own],
                    [_height(point, floor) for point in own],
                    xerr=bars if full else None,
                    linewidth=1.1 if full else 0.7,
                    markerfacecolor=look["color"] if full else "white",
                    markeredgewidth=1.2,
                    capsize=3,
                    zorder=3 if full else 2,
                    **look | ({} if all(point.top1 is not None for point in own) else {"linestyle": ""}),
                )
    legend = _legend(figure, axes, picture, looks)
    _labels(figure, axes, picture, legend, floor)
    figure.text(0.012, 0.1 / height, caption, fontsize=8.5, color=INK, va="bottom")
    return figure


def _looks(picture: Picture) -> dict[str, dict[str, Any]]:
    """How each family of the figure looks; those without a look of their own take the others in turn."""
    families = dict.fromkeys(point.family for point in (*picture.published, *picture.measured))
    others = cycle(TABLES["others"])
    return {name: LOOKS.get(name) or {"label": _short(name, 30), **next(others)} for name in families}


def _legend(figure: Figure, axes: Axes, picture: Picture, looks: dict[str, dict[str, Any]]) -> Legend:
    """The legend in rows above the axes, where no point can be: in as many columns as there is room for."""
    square = {"marker": "s", "linestyle": "", "color": INK}
    entries = [*looks.values(), {**square, "markerfacecolor": "white", "label": "published"}]
    entries += [{**square, "label": _short(picture.full, 70)}] if picture.measured else []
    entries.append({"color": FRONT, "linewidth": 1.6, "label": "Pareto front"})
    handles = [Line2D([], [], **entry) for entry in entries]
    FigureCanvasAgg(figure)
    for columns in range(len(handles), 0, -1):
        legend: Legend = axes.legend(
            handles=handles, ncols=columns, loc="lower left", bbox_to_anchor=(-0.01, 1), frameon=False, fontsize=9
        )
        figure.draw_without_rendering()
        if legend.get_window_extent().x1 <= axes.get_window_extent().x1:
            break
    return legend


def _short(text: str, characters: int) -> str:
    return textwrap.shorten(one_line(text), characters, placeholder="…")


def _scale(axes: Axes, picture: Picture) -> float:
    """Set the axes' limits; return the height at which networks of unknown accuracy stand, below all others."""
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
    accuracies = [point.top1 for point in points if point.top1 is not None]
    lowest, highest = min(accuracies), max(accuracies)
    room = 0.12 * (highest - lowest) + 1e-3
    if len(accuracies) == len(points):
        axes.set_ylim(lowest - room, highest + room)
        return lowest
    floor = lowest - 2.2 * room
    axes.set_ylim(floor - room, highest + room)
    axes.axhline(lowest - 1.1 * room, color=FRONT, linewidth=0.8, linestyle=(0, (1, 3)))
    ticks = [tick for tick in axes.get_yticks() if lowest - 1.1 * room < tick < highest + room]
    axes.set_yticks([floor, *ticks], ["?", *(f"{tick:.3g}" for tick in ticks)])
    axes.text(0.995, 0.01, UNKNOWN, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5, color=INK)
    return floor


def _height(point: Point, floor: float) -> float:
    return floor if point.top1 is None else point.top1


def _labels(figure: Figure, axes: Axes, picture: Picture, legend: Legend, floor: float) -> None:
    """Name each network at its point; once if its published and measured points are close together."""
    pixels, looks = axes.transData.inverted(), _looks(picture)
    spots = {point: (point.x, _height(point, floor)) for point in (*picture.measured, *picture.published)}
    notes = [text.get_window_extent() for text in axes.texts]
    boxes = [*(_box(axes, spot) for spot in spots.values()), *notes, legend.get_window_extent()]
    texts: dict[Point, Text] = {}
    for point, (x, y) in spots.items():
        near = _box(axes, (x, y), width=90, height=60)
        if not any(near.overlaps(_box(axes, spots[other])) for other in texts if other.model == point.model):
            label = LOOKS[point.family]["label"] if point.family in LOOKS else ""
            name = _short(label + (point.model.removeprefix(point.family) if label else point.model), 30)
            texts[point] = axes.text(x, y, name, fontsize=8.5, color=looks[point.family]["color"])
            texts[point].set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    adjust_text(
        list(texts.values()),
        target_x=[spots[point][0] for point in texts],
        target_y=[spots[point][1] for point in texts],
        objects=[box.transformed(pixels) for box in boxes],
        ax=axes,
        **TABLES["names"],
    )


def _box(axes: Axes, spot: tuple[float, float], width: float = 14, height: float = 14) -> Bbox:
    """A box around a place, in pixels."""
    x, y = axes.transData.transform(spot)
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
