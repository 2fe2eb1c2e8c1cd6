"""Distance to the limit: the least time that a device's peaks allow for a case, and the share of it that was reached.

The roofline of Williams, Waterman and Patterson (2009): FLOPs over the peak of that precision, or the least bytes over the
memory's bandwidth, whichever takes longer. FLOPs are those of direct convolutions (2 x multiply-accumulates); Winograd's
algorithm needs fewer for 3x3 ones, so a share over 100 % would be surprising and not impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import msgspec

from trtzoo.gpus import GPUS, card
from trtzoo.models import MODELS
from trtzoo.precision import PRECISIONS
from trtzoo.protocols import headline
from trtzoo.report.latency import NOBODY, PUBLISHED, Group, filled, groups, printed_batches
from trtzoo.report.published import document
from trtzoo.report.tables import Cell, Table
from trtzoo.spec import Card, Model, Result

BYTES = {"fp32": 4, "fp16": 2}
VALUES = 3 * 224 * 224, 1000
"""Of one image and of its logits."""


class Limit(msgspec.Struct, frozen=True):
    """The least seconds, what sets them, and whose word the peaks are."""

    seconds: float
    bound: Literal["compute", "memory"]
    source: str


def least_bytes(model: Model, precision: str, batch: int, io: str = "fp32") -> int:
    """Weights, images and logits, each moved once. BN's scale and shift are counted, though most are folded away: under 1 %."""
    return model.params * BYTES[PRECISIONS[precision].graph] + batch * sum(VALUES) * BYTES[io]


def roofline(flops: float, size: float, peak: float, bandwidth: float, source: str) -> Limit:
    """`flops` at `peak` FLOP/s and `size` bytes at `bandwidth` bytes/s (0: not known, left out)."""
    compute, memory = flops / peak, size / bandwidth if bandwidth else 0.0
    return Limit(compute, "compute", source) if compute >= memory else Limit(memory, "memory", source)


def of_card(found: Card | None, model: Model, precision: str, batch: int, io: str = "fp32") -> Limit | None:
    """A case's limit on a GPU; None where its peaks are not known."""
    peak = getattr(found, precision, 0.0)
    if found is None or not peak:
        return None
    return roofline(batch * model.flops, least_bytes(model, precision, batch, io), peak, found.bandwidth, found.source)


def of_printed(gpu: str, model: Model, precision: str, batch: int) -> Limit | None:
    """A published cell's limit. Which V100 it was is not told: the first card's peaks are taken."""
    return of_card(GPUS[gpu].cards[0], model, precision, batch)


def of(result: Result) -> Limit | None:
    """A result's limit: by its GPU's row, or by the sgemm rate measured beside it on a CPU; None where neither is known."""
    case, model = result.case, MODELS[result.case.model]
    if result.device.kind == "gpu":
        return of_card(card(result.device.name), model, case.precision, case.batch, result.io or "fp32")
    if case.precision != "fp32" or not result.sgemm:
        return None
    source = f"sgemm measured beside it: {result.sgemm / 1e9:.0f} GFLOP/s"
    return roofline(case.batch * model.flops, 0, result.sgemm, 0, source)


def share(result: Result) -> float | None:
    """Limit / measured; None for a failed result and where no limit is known."""
    limit = None if result.failure else of(result)
    return limit.seconds / headline(result) if limit else None


# --- tables ---

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
            _limit_table(group, "", precision, names) for precision in mine if any(map(of, group.of(precision).values()))
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
    sources = {limit.source for result in here.values() if (limit := of(result))}
    if gpu:
        sources.add(GPUS[gpu].cards[0].source)
    where = ", ".join(filter(None, [group.name or GPUS[gpu].title, precision.upper()]))
    caption = [CAPTION, f"Peaks: {'; '.join(sorted(sources))}."]
    return filled(f"Share of the limit, {where}", columns, models, caption, [])


def _limit_cell(here: dict[tuple[str, int], Result], gpu: str, precision: str, batch: int, model: str) -> Cell:
    result = here.get((model, batch))
    limit = of(result) if result else of_printed(gpu, MODELS[model], precision, batch) if gpu else None
    return Cell(limit.seconds * 1000, f"{limit.seconds * 1000:.2f}") if limit else Cell(None)


def _published_share(gpu: str, precision: str, batch: int, model: str) -> Cell:
    limit, seconds = of_printed(gpu, MODELS[model], precision, batch), document().seconds(gpu, precision, model, batch)
    return _percent(limit.seconds / seconds if limit and seconds else None)


def _measured_share(here: dict[tuple[str, int], Result], batch: int, model: str) -> Cell:
    result = here.get((model, batch))
    return _percent(share(result) if result else None)


def _percent(value: float | None) -> Cell:
    return Cell(None) if value is None else Cell(value, f"{value:.1%}")
