"""Latency tables: published numbers beside measured ones, a table for each other device, and shares of the device's limit.

A column is a row of LATENCY_COLUMNS or LIMIT_COLUMNS.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal

import msgspec

from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.records import Identity, Result
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS
from trtzoo.report.published import PublishedCell, all_cells, document, printed_batches
from trtzoo.report.results import Group, Row, device_text, groups, pairs_text, protocol_text, ratio_to_published, weights_text
from trtzoo.report.roofline import limit_doubt, limit_of, limit_of_published
from trtzoo.report.tables.model import DASH, Cell, Column, Table, caption
from trtzoo.report.verdict import Verdict, verdict_of, verdict_text
from trtzoo.runtimes.registry import RUNTIMES

AS_PUBLISHED = [name for name, protocol in PROTOCOLS.items() if protocol.as_published]
PUBLISHED = (("v100", "fp32"), ("t4", "fp32"), ("t4", "fp16"))  # in the document's order


class Place(msgspec.Struct, frozen=True):
    """What a cell shows: one model at one batch, in seconds, or None.

    `ratio` is measured / published. `note` is what the reader must know of the result, `verdict` whether its precision pays.
    """

    result: Result | None
    measured: float | None
    published: float | None
    ratio: float | None
    limit: float | None
    published_limit: float | None
    note: str
    verdict: Verdict | None = None


class BatchColumn(Column[Place], frozen=True):
    """A column that stands once for each batch; its name has the placeholders {batch}, {device} and {gpu}.

    `needs`: the column is left out at a batch without published numbers, if the protocol does not measure as the publisher
    did ("ratio"), in a table without results, or at a batch without a verdict.
    """

    needs: Literal["", "published", "ratio", "results", "verdict"] = ""


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over and under else None


MEASURED = BatchColumn(
    "b{batch} measured", lambda at: _ms(at.measured), "{:.2f}", lambda at: at.note, lambda at: "failed" if at.result else DASH
)
PAYS = BatchColumn(
    "b{batch} pays",
    lambda at: verdict_text(at.verdict) or None,
    note=lambda at: f"{'; '.join(at.verdict.judgement.reasons)}" if at.verdict else "",
    needs="verdict",
)
LATENCY_COLUMNS = (
    BatchColumn("b{batch} published", lambda at: _ms(at.published), "{:.2f}", needs="published"),
    MEASURED,
    BatchColumn("b{batch} ratio", lambda at: at.ratio, "{:.2f}", needs="ratio"),
    PAYS,
)
OWN_COLUMNS = (msgspec.structs.replace(MEASURED, name="{device} b{batch}"), PAYS)
OTHER_HARDWARE = (BatchColumn("{gpu} published b{batch}", lambda at: _ms(at.published), "{:.2f}", needs="published"),)
LIMIT_COLUMNS = (
    BatchColumn("b{batch} limit", lambda at: _ms(at.limit), "{:.2f}"),
    BatchColumn("b{batch} published", lambda at: _ratio(at.published_limit, at.published), "{:.1%}", needs="published"),
    BatchColumn("b{batch} measured", lambda at: _ratio(at.limit, at.measured), "{:.1%}", lambda at: at.note, needs="results"),
)
Columns = Mapping[str, tuple[BatchColumn, ...]]  # by GPU
Notes = Mapping[str, str]  # by case name


# --- tables ---


def latency_tables(
    results: Iterable[Result], *, published: Iterable[PublishedCell] | None = None, verdicts: Sequence[Verdict] = ()
) -> list[Table]:
    """Make the tables of what was measured on the published GPUs, then a table for each other device.

    The `published` latencies (None: all) are there whether they were measured or not, in tables, rows and columns. A result has
    its verdict beside it.
    """
    cells = all_cells() if published is None else list(published)
    return [_latency_table(group, cells, verdicts) for group in _groups(results, cells)]


def limit_tables(results: Iterable[Result], *, published: Iterable[PublishedCell] | None = None) -> list[Table]:
    """Make tables of the share of the limit that latencies reach, where the limit is known; `published` as above."""
    tables, cells = [], all_cells() if published is None else list(published)
    for group in _groups(results, cells):
        sources = {limit.source for result in group.results.values() if (limit := limit_of(result))}
        if group.gpu:
            sources.add(GPUS[group.gpu].cards[0].source)
        if sources:
            title = f"Share of the limit, {group.name or GPUS[group.gpu].title}, {group.precision.upper()}"
            doubts = {result.name: limit_doubt(result) for result in group.results.values()}
            lines = [caption("limit"), f"Peaks: {'; '.join(sorted(sources))}."]
            tables.append(_table(group, title, {group.gpu: LIMIT_COLUMNS}, lines, doubts, cells, ()))
    return tables


def _groups(results: Iterable[Result], published: list[PublishedCell]) -> list[Group]:
    """Return the groups with results, those of the published GPUs first, then the `published` tables without any."""
    known = groups(results)
    same = [[group for group in known if (group.gpu, group.precision) == each] for each in PUBLISHED]
    empty = [Group(precision, gpu) for (gpu, precision), members in zip(PUBLISHED, same, strict=True) if not members]
    measured = [*(group for members in same for group in members), *(group for group in known if not group.gpu)]
    wanted = {(cell.gpu, cell.precision) for cell in published}
    return [*measured, *(group for group in empty if (group.gpu, group.precision) in wanted)]


def _latency_table(group: Group, published: list[PublishedCell], verdicts: Sequence[Verdict]) -> Table:
    """Make a group's table. A ratio to other hardware's published latencies would be meaningless."""
    facts, notes = _facts(group)
    if group.gpu:
        gpu, precision = GPUS[group.gpu], group.precision
        lines = facts if group.results else [caption("nothing", gpu=gpu, precision=precision)]
        lines = [*lines, caption("published", source=document().source)]
        lines.append(caption("ratios" if _has_ratios(group) else "otherwise", group=group, protocols=", ".join(AS_PUBLISHED)))
        title = ", ".join(filter(None, [f"Inference speed on {gpu.title}, {precision.upper()}, in ms", group.name]))
        return _table(group, title, {gpu.name: LATENCY_COLUMNS}, lines, notes, published, verdicts)
    columns = {"": OWN_COLUMNS, "t4": OTHER_HARDWARE, "v100": OTHER_HARDWARE}
    title = f"Latency in ms, {group.precision.upper()}, on {group.name}"
    table = _table(group, title, columns, facts, notes, published, verdicts)
    if any("published" in name for name in table.columns):
        table = msgspec.structs.replace(table, caption=(*table.caption, caption("other")))
    return table


def _has_ratios(group: Group) -> bool:
    """Return whether a published GPU's table has ratios: nothing was measured, or measured as the publisher did."""
    return not group.results or group.protocol in AS_PUBLISHED


def _table(
    group: Group,
    title: str,
    columns: Columns,
    lines: list[str],
    notes: Notes,
    published: list[PublishedCell],
    verdicts: Sequence[Verdict],
) -> Table:
    """Make a table of what has results: its rows, and its batches, with a column for each that has what it needs.

    It has the batches of the `published` latencies, too, and their models where the GPU is the same.
    """
    own = [cell for cell in published if (cell.gpu, cell.precision) == (group.gpu, group.precision)]
    shown = {*(batch for _, batch in group.results), *(cell.batch for cell in (own if group.gpu else published))}
    judged = {key: found for key, result in group.results.items() if (found := verdict_of(result, verdicts))}
    bound: list[tuple[BatchColumn, str, int]] = []
    for gpu, rows in columns.items():
        printed = printed_batches(gpu, group.precision) & shown
        known = {"": shown, "results": shown if group.results else (), "published": printed}
        known["ratio"] = printed if _has_ratios(group) else ()
        known["verdict"] = {batch for _, batch in judged}
        bound += [(column, gpu, batch) for batch in sorted(shown) for column in rows if batch in known[column.needs]]

    subjects = group.subjects
    subjects = {Identity(model=cell.model, network=cell.model).row: cell.model for cell in own} | subjects

    @cache
    def place(gpu: str, batch: int, row: Row) -> Place:
        result = group.results.get((row, batch))
        model = MODELS.get(row[0]) if row[1:] == ("", "") else None
        published_limit = limit_of_published(gpu, model, group.precision, batch) if gpu and model else None
        limit = limit_of(result) if result else published_limit
        return Place(
            result=result,
            measured=reported_latency(result) if result and not result.failure else None,
            published=document().seconds(gpu, group.precision, model.name, batch) if model else None,
            ratio=ratio_to_published(result) if result else None,
            limit=limit.seconds if limit else None,
            published_limit=published_limit.seconds if published_limit else None,
            note=notes.get(result.name, "") if result else "",
            verdict=judged.get((row, batch)),
        )

    if not published:  # nor has any row
        optional = ("published", "ratio")
        cells_of = {key: [key[0].value(place(key[1], key[2], row)) for row in subjects] for key in bound}
        bound = [key for key in bound if key[0].needs not in optional or any(value is not None for value in cells_of[key])]
    names = [column.name.format(batch=batch, device=group.short, gpu=gpu.upper()) for column, gpu, batch in bound]
    cells = [
        (Cell(title, title), *(column.cell(place(gpu, batch, row)) for column, gpu, batch in bound))
        for row, title in subjects.items()
    ]
    return Table(title, ("Model", *names), tuple(cells), tuple(lines))


# --- facts: common ones go to the caption, others to the cells ---


def _facts(group: Group) -> tuple[list[str], Notes]:
    """Return the caption's lines about the results, and by case name what the reader must know of one of them."""
    good = [result for result in group.results.values() if not result.failure]
    shared, usual, own = [], [], {result.name: list[str]() for result in good}
    mixed = len({result.device.uuid for result in good}) > 1
    for texts in zip(*(_carried(result, name_gpu=mixed) for result in good), strict=True):
        most, count = Counter(texts).most_common(1)[0]
        if count == len(good):
            shared.append(most)
            continue
        most = most if 2 * count > len(good) else ""
        usual += [f"{most} unless marked"] if most else []
        for name, text in zip(own, texts, strict=True):
            own[name] += [text] if text != most else []
    notes: dict[str, str] = {}
    for result in group.results.values():
        name, failure = result.name, result.failure
        parts = [*own.get(name, ()), group.older.get(name), _unproven(result), warning_sentence(result)]
        notes[name] = f"{failure.kind}: {failure.reason}" if failure else "; ".join(filter(None, parts))
    if not good:
        return [], notes
    proven = "" if any(map(_unproven, good)) else "outputs checked"
    lines = [f"Measured: {'; '.join(filter(None, [*shared, *usual, proven]))}."]
    lines.append(f"Protocol {protocol_text(group.protocol)}.")
    if any(result.selection_reason for result in good):
        lines.append(caption("trials"))
    reasons = {result.weights.fallback for result in good if result.weights and result.weights.fallback}
    return [*lines, *(f"Why seeded: {reason}" for reason in sorted(reasons))], notes


def _carried(result: Result, *, name_gpu: bool) -> list[str]:
    """Return the facts that every number carries; with `name_gpu`, also which of several equal GPUs it is of."""
    arithmetic = result.settings.get("arithmetic")
    return [
        device_text(result.device),
        result.device.uuid or "GPU unknown" if name_gpu else "",
        pairs_text(result.versions),
        f"{result.threads} threads" if result.threads else "",
        f"{result.io.upper()} I/O" if result.io else "",
        f"{arithmetic} arithmetic" if arithmetic else "",
        f"protocol {result.case.protocol}",
        f"{result.case.wait} wait" if result.case.wait else "",
        weights_text(result.weights),
    ]


def _unproven(result: Result) -> str:
    """Return a warning unless the outputs were checked and right, and really computed."""
    if result.case.runtime in RUNTIMES and RUNTIMES[result.case.runtime].hidden:
        return f"NOT MEASURED: the runtime {result.case.runtime} computes nothing"
    if result.check is None:
        return "OUTPUTS NOT CHECKED"
    return "" if result.check.error <= result.check.tolerance else f"WRONG OUTPUTS: error {result.check.error:.2g}"
