"""Latency tables: published numbers beside measured ones, a table for each other device, and shares of the device's limit.

A column is a row of LATENCY_COLUMNS or LIMIT_COLUMNS.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Literal

import msgspec

from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.records import Result
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS
from trtzoo.report.groups import NOBODY, Group, groups
from trtzoo.report.published import BATCHES, document, printed_batches
from trtzoo.report.roofline import limit_of, limit_of_published
from trtzoo.report.tables.model import DASH, Cell, Column, Table
from trtzoo.report.wording import device_text, pairs_text, protocol_text, weights_text

PUBLISHED = (("v100", "fp32"), ("t4", "fp32"), ("t4", "fp16"))
"""GPU and precision of the published tables, in the document's order."""

LIMIT_CAPTION = (
    "The limit is the shortest time, in ms, that the device's peaks allow: FLOPs over the peak of that precision, or weights, "
    "images and logits once over the bandwidth, whichever is longer. Shares are limit / latency."
)


class Place(msgspec.Struct, frozen=True):
    """What a cell shows: one model at one batch. Seconds, or None; `facts` are the result's own."""

    result: Result | None
    measured: float | None
    published: float | None
    limit: float | None
    published_limit: float | None
    facts: list[str]

    @property
    def note(self) -> str:
        """What the reader must know of the result."""
        if self.result is None:
            return ""
        if failure := self.result.failure:
            return f"{failure.kind}: {failure.reason}"
        return "; ".join(filter(None, [*self.facts, _unproven(self.result), warning_sentence(self.result)]))


class BatchColumn(Column[Place], frozen=True):
    """A column that stands once for each batch; its name has the placeholders {batch}, {device} and {gpu}.

    `needs`: the column is left out at a batch without published numbers, or in a table without results.
    """

    needs: Literal["", "published", "results"] = ""


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over and under else None


MEASURED = BatchColumn(
    "b{batch} measured", lambda at: _ms(at.measured), "{:.2f}", lambda at: at.note, lambda at: "failed" if at.result else DASH
)
LATENCY_COLUMNS = (
    BatchColumn("b{batch} published", lambda at: _ms(at.published), "{:.2f}", needs="published"),
    MEASURED,
    BatchColumn("b{batch} ratio", lambda at: _ratio(at.measured, at.published), "{:.2f}", needs="published"),
)
OWN_COLUMNS = (msgspec.structs.replace(MEASURED, name="{device} b{batch}"),)
OTHER_HARDWARE = (BatchColumn("{gpu} published b{batch}", lambda at: _ms(at.published), "{:.2f}", needs="published"),)
LIMIT_COLUMNS = (
    BatchColumn("b{batch} limit", lambda at: _ms(at.limit), "{:.2f}"),
    BatchColumn("b{batch} published", lambda at: _ratio(at.published_limit, at.published), "{:.1%}", needs="published"),
    BatchColumn("b{batch} measured", lambda at: _ratio(at.limit, at.measured), "{:.1%}", needs="results"),
)


class Section(msgspec.Struct, frozen=True):
    """The content of one table: a group's results of one precision. `gpu` is the GPU of a published table, or empty.

    `facts` are those that the results share, as lines; `own_facts` those that are a case's own.
    """

    group: Group
    precision: str
    gpu: str
    results: dict[tuple[str, int], Result]
    facts: list[str]
    own_facts: dict[str, list[str]]

    @property
    def batches(self) -> set[int]:
        return {batch for _, batch in self.results} | printed_batches(self.gpu, self.precision)

    def place(self, gpu: str, batch: int, model: str) -> Place:
        result = self.results.get((model, batch))
        published_limit = limit_of_published(gpu, MODELS[model], self.precision, batch) if gpu else None
        limit = limit_of(result) if result else published_limit
        return Place(
            result=result,
            measured=reported_latency(result) if result and not result.failure else None,
            published=document().seconds(gpu, self.precision, model, batch),
            limit=limit.seconds if limit else None,
            published_limit=published_limit.seconds if published_limit else None,
            facts=self.own_facts.get(result.case.name, []) if result else [],
        )

    def table(self, title: str, columns: Mapping[str, tuple[BatchColumn, ...]], batches: set[int], caption: list[str]) -> Table:
        """Make a table of all models. `columns` are by GPU; each stands at each batch, except where it lacks what it needs."""
        bound: list[tuple[BatchColumn, str, int]] = []
        for gpu, rows in columns.items():
            known = {"": batches, "results": batches if self.results else (), "published": printed_batches(gpu, self.precision)}
            bound += [(column, gpu, batch) for batch in sorted(batches) for column in rows if batch in known[column.needs]]
        device, place, notes = self.group.short, cache(self.place), list[str]()
        names = [column.name.format(batch=batch, device=device, gpu=gpu.upper()) for column, gpu, batch in bound]
        cells = [
            (Cell(model, model), *(column.cell(place(gpu, batch, model), notes) for column, gpu, batch in bound))
            for model in MODELS
        ]
        return Table(title, ("Model", *names), tuple(cells), tuple(caption), tuple(notes))


def latency_tables(results: Iterable[Result]) -> list[Table]:
    """Make the three published tables with what was measured on those GPUs, then a table for each other device."""
    return [_published_table(section) if section.gpu else _own_table(section) for section in _sections(results)]


def limit_tables(results: Iterable[Result]) -> list[Table]:
    """Make tables of the share of the limit that published and measured latencies reach, where the limit is known."""
    return [_limit_table(row) for row in _sections(results) if row.gpu or any(map(limit_of, row.results.values()))]


def _sections(results: Iterable[Result]) -> Iterator[Section]:
    known = groups(result for result in results if result.case.model in MODELS and result.case.protocol in PROTOCOLS)
    for gpu, precision in PUBLISHED:
        same = [group for group in known if group.gpu == gpu and group.of(precision)]
        yield from (_section(group, precision, gpu) for group in same or [NOBODY])
    for group in known:
        precisions = sorted({row.case.precision for row in group.results}, key=lambda name: (name != "fp32", name))
        own = [precision for precision in precisions if (group.gpu, precision) not in PUBLISHED]
        yield from (_section(group, precision, "") for precision in own)


def _published_table(section: Section) -> Table:
    gpu, precision, source = GPUS[section.gpu], section.precision.upper(), document().source
    run = f"trtzoo bench --all --gpu {gpu.name} --precision {section.precision}"
    nothing = f"Nothing was measured on a {gpu.title} at this precision. On a machine with one, run: {run}"
    published = (
        f"Published: {source.name}, {source.document}; crop {source.crop}, short side resized to {source.resize_short}. "
        "Ratios are measured / published."
    )
    title = ", ".join(filter(None, [f"Inference speed on {gpu.title}, {precision}, in ms", section.group.name]))
    caption = [*(section.facts if section.results else [nothing]), published]
    return section.table(title, {section.gpu: LATENCY_COLUMNS}, section.batches, caption)


def _own_table(section: Section) -> Table:
    """Make the table of a device without published numbers. A ratio to other hardware would be meaningless."""
    columns, caption = {"": OWN_COLUMNS, "t4": OTHER_HARDWARE, "v100": OTHER_HARDWARE}, section.facts
    if any(printed_batches(gpu, section.precision) for gpu in columns):
        caption = [*caption, "The published columns are of other hardware, so no ratio is shown."]
    title = f"Latency in ms, {section.precision.upper()}, on {section.group.name}"
    return section.table(title, columns, {*BATCHES, *section.batches}, caption)


def _limit_table(section: Section) -> Table:
    sources = {limit.source for result in section.results.values() if (limit := limit_of(result))}
    if section.gpu:
        sources.add(GPUS[section.gpu].cards[0].source)
    title = f"Share of the limit, {section.group.name or GPUS[section.gpu].title}, {section.precision.upper()}"
    caption = [LIMIT_CAPTION, f"Peaks: {'; '.join(sorted(sources))}."]
    return section.table(title, {section.gpu: LIMIT_COLUMNS}, section.batches, caption)


# --- facts: common ones go to the caption, others to the cells ---

CAPTION_FACTS: tuple[Callable[[Result], str], ...] = (
    lambda result: device_text(result.device),
    lambda result: pairs_text(result.versions),
    lambda result: f"{result.threads} threads" if result.threads else "",
    lambda result: f"{result.io.upper()} I/O" if result.io else "",
    lambda result: f"{kind} arithmetic" if (kind := result.settings.get("arithmetic")) else "",
    lambda result: f"protocol {result.case.protocol}",
    lambda result: weights_text(result.weights),
)
"""The facts that every number carries."""


def _section(group: Group, precision: str, gpu: str) -> Section:
    results = group.of(precision)
    good = [result for result in results.values() if not result.failure]
    shared, own = _split_facts(good)
    for name, older in group.older.items():
        own.setdefault(name, []).append(older)
    return Section(group, precision, gpu, results, _caption(good, shared) if good else [], own)


def _split_facts(good: list[Result]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the facts of all or most results, and for each case the facts in which it differs."""
    shared, usual, own = [], [], {result.case.name: list[str]() for result in good}
    for fact in CAPTION_FACTS if good else ():
        texts = {result.case.name: fact(result) for result in good}
        most, count = Counter(texts.values()).most_common(1)[0]
        if count == len(good):
            shared.append(most)
            continue
        most = most if 2 * count > len(good) else ""
        usual += [f"{most} unless marked"] if most else []
        for name, text in texts.items():
            own[name] += [text] if text != most else []
    return [*shared, *usual, "" if any(map(_unproven, good)) else "outputs checked"], own


def _caption(good: list[Result], shared: list[str]) -> list[str]:
    lines = [f"Measured: {'; '.join(filter(None, shared))}.", f"Protocol {protocol_text(good[0].case.protocol)}."]
    if any(result.selection_reason for result in good):
        lines.append("Each cell's runtime is the fastest in a short trial. See `--explain` for a cell's runtime.")
    reasons = {result.weights.fallback for result in good if result.weights and result.weights.fallback}
    return [*lines, *(f"Why seeded: {reason}" for reason in sorted(reasons))]


def _unproven(result: Result) -> str:
    """Return a warning unless the outputs were checked and right."""
    if result.check is None:
        return "OUTPUTS NOT CHECKED"
    return "" if result.check.error <= result.check.tolerance else f"WRONG OUTPUTS: error {result.check.error:.2g}"
