"""Tables of how close each latency comes to the device's limit."""

from collections.abc import Callable, Iterable
from functools import partial

from trtzoo.core.records import Result
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS
from trtzoo.report.groups import NOBODY, Group, groups
from trtzoo.report.published import document
from trtzoo.report.roofline import limit_of, limit_of_published, limit_share
from trtzoo.report.tables.latency import PUBLISHED, filled, printed_batches
from trtzoo.report.tables.model import Cell, Table

CAPTION = (
    "The limit is the least time, in ms, that the device's peaks allow: FLOPs over the peak of that precision, or weights, "
    "images and logits once over the bandwidth, whichever is longer. Shares are limit / latency."
)


def limit_tables(results: Iterable[Result], models: Iterable[str] = MODELS) -> list[Table]:
    """The share of the limit that each published cell reaches, and each measured one whose device's limit is known."""
    names, known = tuple(models), groups(results)
    tables = []
    for gpu, precision in PUBLISHED:
        same = [group for group in known if group.gpu == gpu and group.of(precision)]
        tables += [_limit_table(group, gpu, precision, names) for group in same or [NOBODY]]
    for group in known:
        own = sorted({row.case.precision for row in group.results}, key=lambda name: (name != "fp32", name))
        mine = [precision for precision in own if (group.gpu, precision) not in PUBLISHED]
        tables += [
            _limit_table(group, "", precision, names) for precision in mine if any(map(limit_of, group.of(precision).values()))
        ]
    return tables


def _limit_table(group: Group, gpu: str, precision: str, models: tuple[str, ...]) -> Table:
    here = group.of(precision)
    columns: dict[str, Callable[[str], Cell]] = {}
    for batch in sorted({size for _, size in here} | printed_batches(gpu, precision)):
        columns[f"b{batch} limit"] = partial(_limit_cell, here, gpu, precision, batch)
        if batch in printed_batches(gpu, precision):
            columns[f"b{batch} published"] = partial(_published_share, gpu, precision, batch)
        if here:
            columns[f"b{batch} measured"] = partial(_measured_share, here, batch)
    sources = {limit.source for result in here.values() if (limit := limit_of(result))}
    if gpu:
        sources.add(GPUS[gpu].cards[0].source)
    where = ", ".join(filter(None, [group.name or GPUS[gpu].title, precision.upper()]))
    caption = [CAPTION, f"Peaks: {'; '.join(sorted(sources))}."]
    return filled(f"Share of the limit, {where}", columns, models, caption, [])


def _limit_cell(here: dict[tuple[str, int], Result], gpu: str, precision: str, batch: int, model: str) -> Cell:
    result = here.get((model, batch))
    limit = limit_of(result) if result else limit_of_published(gpu, MODELS[model], precision, batch) if gpu else None
    return Cell(limit.seconds * 1000, f"{limit.seconds * 1000:.2f}") if limit else Cell(None)


def _published_share(gpu: str, precision: str, batch: int, model: str) -> Cell:
    limit, seconds = limit_of_published(gpu, MODELS[model], precision, batch), document().seconds(gpu, precision, model, batch)
    return _percent(limit.seconds / seconds if limit and seconds else None)


def _measured_share(here: dict[tuple[str, int], Result], batch: int, model: str) -> Cell:
    result = here.get((model, batch))
    return _percent(limit_share(result) if result else None)


def _percent(value: float | None) -> Cell:
    return Cell(None) if value is None else Cell(value, f"{value:.1%}")
