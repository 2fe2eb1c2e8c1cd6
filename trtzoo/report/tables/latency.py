"""The document's tables of latencies with what was measured beside them; and the tables of every other device."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.records import Result
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS
from trtzoo.report.groups import NOBODY, Group, groups
from trtzoo.report.published import document
from trtzoo.report.tables.model import Cell, Table, note
from trtzoo.report.wording import device_text, weights_text

BATCHES = (1, 4, 8)

PUBLISHED = (("v100", "fp32"), ("t4", "fp32"), ("t4", "fp16"))
"""The document's tables of latencies, in its order."""


def latency_tables(results: Iterable[Result], models: Iterable[str] = MODELS) -> list[Table]:
    """The document's three tables with what was measured on those GPUs, dashes where nothing was; then every other device's."""
    names = tuple(models)
    known = groups(result for result in results if result.case.model in names and result.case.protocol in PROTOCOLS)
    tables = []
    for gpu, precision in PUBLISHED:
        same = [group for group in known if group.gpu == gpu and group.of(precision)]
        tables += [_published_table(group, gpu, precision, names) for group in same or [NOBODY]]
    for group in known:
        own = sorted({row.case.precision for row in group.results}, key=lambda name: (name != "fp32", name))
        tables += [_table(group, precision, names) for precision in own if (group.gpu, precision) not in PUBLISHED]
    return tables


def _published_table(group: Group, gpu: str, precision: str, models: tuple[str, ...]) -> Table:
    """One of the document's, with measured and ratio columns."""
    here, title = group.of(precision), f"Inference speed on {GPUS[gpu].title}, {precision.upper()}, in ms"
    caption, measured, notes = _measured_cells(group, precision)
    columns: dict[str, Callable[[str], Cell]] = {}
    for batch in sorted({size for _, size in here} | printed_batches(gpu, precision)):
        printed = batch in printed_batches(gpu, precision)
        if printed:
            columns[f"b{batch} published"] = partial(_printed, gpu, precision, batch)
        columns[f"b{batch} measured"] = partial(measured, batch)
        if printed:
            columns[f"b{batch} ratio"] = partial(_ratio, here, gpu, precision, batch)
    if not here:
        run = f"trtzoo bench --all --gpu {gpu} --precision {precision}"
        caption = [f"Nothing was measured on a {GPUS[gpu].title} at this precision. On a machine with one: {run}"]
    source = document().source
    caption.append(
        f"Published: {source.name}, {source.document}; crop {source.crop}, short side resized to {source.resize_short}. "
        "Ratios are measured / published."
    )
    return filled(f"{title}, {group.name}" if here else title, columns, models, caption, notes)


def _table(group: Group, precision: str, models: tuple[str, ...]) -> Table:
    """A device's that was not published: the published columns are other hardware, and no ratio is drawn."""
    batches = sorted({*BATCHES, *(batch for _, batch in group.of(precision))})
    caption, measured, notes = _measured_cells(group, precision)
    columns: dict[str, Callable[[str], Cell]] = {f"{group.short} b{batch}": partial(measured, batch) for batch in batches}
    beside = [(gpu, batch) for gpu in ("t4", "v100") for batch in sorted(printed_batches(gpu, precision))]
    for gpu, batch in beside:
        columns[f"{gpu.upper()} published b{batch}"] = partial(_printed, gpu, precision, batch)
    if beside:
        caption.append("The published columns are of other hardware, so no ratio is drawn.")
    return filled(f"Latency in ms, {precision.upper()}, on {group.name}", columns, models, caption, notes)


def filled(
    title: str, columns: dict[str, Callable[[str], Cell]], models: tuple[str, ...], caption: list[str], notes: list[str]
) -> Table:
    """Cells are made row by row, so that notes are numbered as they are read."""
    rows = tuple((Cell(model, model), *(cell(model) for cell in columns.values())) for model in models)
    return Table(title, ("Model", *columns), rows, tuple(caption), tuple(notes))


# --- facts: constant ones to the caption, others to the cells ---

CAPTION_FACTS: dict[str, Callable[[Result], str]] = {
    "device": lambda result: device_text(result.device),
    "runtime": lambda result: " ".join(f"{name} {version}" for name, version in result.versions.items()),
    "threads": lambda result: f"{result.threads} threads" if result.threads else "",
    "input and output": lambda result: f"{result.io.upper()} I/O" if result.io else "",
    "arithmetic": lambda result: f"{kind} arithmetic" if (kind := result.settings.get("arithmetic")) else "",
    "protocol": lambda result: f"protocol {result.case.protocol}",
    "weights": lambda result: weights_text(result.weights),
}
"""What a number must carry."""


def _measured_cells(group: Group, precision: str) -> tuple[list[str], Callable[[int, str], Cell], list[str]]:
    """The caption; what makes the cell of a batch and model; and the notes, which grow as cells are made."""
    here, notes = group.of(precision), list[str]()
    caption, own = _provenance(list(here.values()))

    def cell(batch: int, model: str) -> Cell:
        result = here.get((model, batch))
        if result is None:
            return Cell(None)
        return _measured(result, [*own.get(result.case.name, []), group.older.get(result.case.name, "")], notes)

    return caption, cell, notes


def _provenance(results: list[Result]) -> tuple[list[str], dict[str, list[str]]]:
    """Facts that all good results share, as lines; and for each case the ones that are its own."""
    good = [result for result in results if not result.failure]
    if not good:
        return [], {}
    texts = {name: {result.case.name: fact(result) for result in good} for name, fact in CAPTION_FACTS.items()}
    shared = [next(iter(by_case.values())) for by_case in texts.values() if len(set(by_case.values())) == 1]
    varying = [by_case for by_case in texts.values() if len(set(by_case.values())) > 1]
    usual = [_usual(list(by_case.values())) for by_case in varying]
    own = {
        result.case.name: [
            text for by_case, most in zip(varying, usual, strict=True) if (text := by_case[result.case.name]) != most
        ]
        for result in good
    }
    shared += [f"{most} unless marked" for most in usual if most]
    checked = "outputs checked" if not any(map(_unproven, good)) else ""
    lines = [f"Measured: {'; '.join(filter(None, [*shared, checked]))}."]
    row = PROTOCOLS[good[0].case.protocol]
    lines.append(f"Protocol {row.name}: {row.statistic} of {row.metric}; {row.note}.")
    if any(result.selection_reason for result in good):
        lines.append("A cell's runtime is the fastest in a short trial; of one cell tells --explain.")
    reasons = sorted({result.weights.fallback for result in good if result.weights and result.weights.fallback})
    return [*lines, *(f"Why seeded: {reason}" for reason in reasons)], own


def _usual(texts: list[str]) -> str:
    """The text of more than half of the cells, or nothing."""
    text, count = Counter(texts).most_common(1)[0]
    return text if 2 * count > len(texts) else ""


def _measured(result: Result, facts: list[str], notes: list[str]) -> Cell:
    if result.failure:
        return Cell(None, "failed", note(f"{result.failure.kind}: {result.failure.reason}", notes))
    told = reported_latency(result) * 1000
    return Cell(
        told, f"{told:.2f}", note("; ".join(filter(None, [*facts, _unproven(result), warning_sentence(result)])), notes)
    )


def _unproven(result: Result) -> str:
    """What is not known of the outputs; nothing where they were right."""
    if result.check is None:
        return "OUTPUTS NOT CHECKED"
    return "" if result.check.error <= result.check.tolerance else f"WRONG OUTPUTS: error {result.check.error:.2g}"


def _ratio(here: dict[tuple[str, int], Result], gpu: str, precision: str, batch: int, model: str) -> Cell:
    """Measured / published; a dash where either is not there."""
    result, printed = here.get((model, batch)), document().seconds(gpu, precision, model, batch)
    if result is None or result.failure or printed is None:
        return Cell(None)
    ratio = reported_latency(result) / printed
    return Cell(ratio, f"{ratio:.2f}")


def _printed(gpu: str, precision: str, batch: int, model: str) -> Cell:
    seconds = document().seconds(gpu, precision, model, batch)
    return Cell(None) if seconds is None else Cell(seconds * 1000, f"{seconds * 1000:.2f}")


def printed_batches(gpu: str, precision: str) -> set[int]:
    rows = document().latency.get(gpu, {}).get(precision, {}).values()
    return {int(batch.removeprefix("b")) for row in rows for batch in row}
