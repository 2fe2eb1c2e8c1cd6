"""Draw figures as PNG and SVG.

Families differ by marker and line as well as by colour. Published points are hollow, measured points are full, and the Pareto
front is a grey staircase. Equal inputs give equal bytes.
"""

import textwrap
import warnings
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
    """Draw the figure, 8 by 5.6 inches. Its texts quote results: they are short, and SVG can have them."""
    label, caption = _short(picture.full, 90), _short(picture.caption, 900)
    figure = Figure(figsize=(8, 5.6), facecolor="white")
    axes = figure.add_axes((0.085, 0.19, 0.89, 0.73))
    axes.set_title(picture.title, loc="left", fontweight="bold")
    axes.set_xlabel(picture.axis)
    axes.set_ylabel("Top-1 accuracy, ImageNet-1k")
    _scale(axes, picture)
    for points, full in ((picture.published, False), (picture.measured, True)):
        front = pareto(points)  # drawn from each point right to the next, then up
        xs, ys = [point.x for point in front], [point.top1 for point in front]
        axes.step(xs, ys, where="post", color=FRONT if full else "#cfcfcf", linewidth=1.6, zorder=1)
        for family, look in LOOKS.items():
            own = sorted((point for point in points if point.family == family), key=lambda point: point.x)
            if own:
                bars = [[point.x - point.low for point in own], [point.high - point.x for point in own]]
                axes.errorbar(
                    [point.x for point in own],
                    [point.top1 for point in own],
                    xerr=bars if full else None,
                    linewidth=1.1 if full else 0.7,
                    markerfacecolor=look["color"] if full else "white",
                    markeredgewidth=1.2,
                    capsize=3,
                    zorder=3 if full else 2,
                    **look,
                )
    square = {"marker": "s", "linestyle": "", "color": INK}
    entries = [*LOOKS.values(), {**square, "markerfacecolor": "white", "label": "published"}]
    entries += [{**square, "label": label}] if picture.measured else []
    entries.append({"color": FRONT, "linewidth": 1.6, "label": "Pareto front"})
    handles = [Line2D([], [], **entry) for entry in entries]
    legend = axes.legend(handles=handles, loc="lower right", frameon=True, framealpha=0.95, edgecolor="#dddddd")
    _labels(figure, axes, picture, legend)
    figure.text(0.012, 0.02, textwrap.fill(caption, 118), fontsize=8.5, color=INK, va="bottom")
    return figure


def _short(text: str, characters: int) -> str:
    return textwrap.shorten(one_line(text), characters, placeholder="…")


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


def _labels(figure: Figure, axes: Axes, picture: Picture, legend: Legend) -> None:
    """Name each network at its point; once if its published and measured points are close together."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    pixels = axes.transData.inverted()
    boxes = [*(_box(axes, point) for point in (*picture.published, *picture.measured)), legend.get_window_extent()]
    texts: dict[Point, Text] = {}
    for point in (*picture.measured, *picture.published):
        near = _box(axes, point, width=90, height=60)
        if not any(near.overlaps(_box(axes, other)) for other in texts if other.model == point.model):
            name = LOOKS[point.family]["label"] + point.model.removeprefix(point.family)
            texts[point] = axes.text(point.x, point.top1, name, fontsize=8.5, color=LOOKS[point.family]["color"])
            texts[point].set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    adjust_text(
        list(texts.values()),
        target_x=[point.x for point in texts],
        target_y=[point.top1 for point in texts],
        objects=[box.transformed(pixels) for box in boxes],
        ax=axes,
        **TABLES["names"],
    )


def _box(axes: Axes, point: Point, width: float = 14, height: float = 14) -> Bbox:
    """A box around a point, in pixels."""
    x, y = axes.transData.transform((point.x, point.top1))
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
