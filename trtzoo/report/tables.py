"""The tables, as values: accuracy and size; latency of a device beside the published GPUs. Formats are formats.py's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

import msgspec

from trtzoo.models import MODELS
from trtzoo.noise import doubt
from trtzoo.protocols import PROTOCOLS, headline
from trtzoo.report.published import Published, document
from trtzoo.spec import Model, Result

BATCHES = (1, 4, 8)
DASH = "—"


class Cell(msgspec.Struct, frozen=True):
    """A value and how it is printed; None was never measured. `mark` refers to one of the table's notes."""

    value: float | str | None
    text: str = DASH
    mark: str = ""


class Table(msgspec.Struct, frozen=True):
    """Columns by name, rows of as many cells, facts that hold for all of it, and notes to single cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Column(msgspec.Struct, frozen=True):
    """A column of the accuracy table: what it holds for a model, and how that is printed."""

    name: str
    value: Callable[[Model, Published], float | None]
    form: str = "{:.3f}"


ACCURACY = (
    Column("Top1", lambda model, row: row.top1),
    Column("Top5", lambda model, row: row.top5),
    Column("Ref. top1", lambda model, row: row.reference_top1),
    Column("Ref. top5", lambda model, row: row.reference_top5),
    Column("FLOPs (G) published", lambda model, row: row.gflops, "{:.2f}"),
    Column("FLOPs (G) exact", lambda model, row: model.flops / 1e9, "{:.2f}"),
    Column("Params (M) published", lambda model, row: row.mparams, "{:.2f}"),
    Column("Params (M) exact", lambda model, row: model.params / 1e6, "{:.2f}"),
)

WHY_COUNTS_DIFFER = (
    "Accuracies are the publisher's (ImageNet-1k validation, crop 224). Exact FLOPs are 2 x multiply-accumulates of "
    "convolutions and classifier; exact parameters leave out BN statistics.",
    "The published counts are those of a 2019 counter that divides a grouped convolution's width by its groups twice (so "
    "most of DPN's grouped 3x3 count as nothing), counts a ReLU as negative FLOPs and the classifier's as one a "
    "multiply-accumulate. It gives 18 of the 20 printed figures; densenet264's 33.37 M (it gives 33.34) and dpn98's "
    "58.46 M (58.47) look like slips of the hand. To count again: trtzoo models --count",
)


def accuracy_table(models: Iterable[str] = MODELS) -> Table:
    """Accuracy, FLOPs and parameters: as published, and as counted exactly."""
    rows = []
    for name in models:
        values = [(column, column.value(MODELS[name], document().models[name])) for column in ACCURACY]
        cells = [Cell(value, DASH if value is None else column.form.format(value)) for column, value in values]
        rows.append((Cell(name, name), *cells))
    columns = ("Model", *(column.name for column in ACCURACY))
    return Table("Accuracy, FLOPs and parameters", columns, tuple(rows), WHY_COUNTS_DIFFER)


# --- latency ---


def _device(result: Result) -> str:
    device = result.device
    return f"{device.name}, {device.cores} cores" if device.kind == "cpu" else f"{device.name}, driver {device.driver}"


def _owner(results: list[Result]) -> str:
    """Whose table it is; the protocol is named where it is not the usual one."""
    if not results:
        return "published"
    case = results[0].case
    return ", ".join([f"on {_short(results[0])}", case.runtime, *([case.protocol] if case.protocol != "trtzoo" else [])])


def _short(result: Result) -> str:
    return "CPU" if result.device.kind == "cpu" else result.device.name


def _weights(result: Result) -> str:
    if result.weights is None:
        return "weights unknown"
    source = result.weights.source
    return "SEEDED weights, which classify nothing" if source == "seeded" else f"weights of {source}"


FACTS: dict[str, Callable[[Result], str]] = {
    "device": _device,
    "runtime": lambda result: " ".join(f"{name} {version}" for name, version in result.versions.items()),
    "threads": lambda result: f"{result.threads} threads" if result.threads else "",
    "input and output": lambda result: f"{result.io.upper()} I/O" if result.io else "",
    "protocol": lambda result: f"protocol {result.case.protocol}",
    "weights": _weights,
    "outputs": lambda result: "outputs checked" if result.check else "OUTPUTS NOT CHECKED",
}
"""What a number must carry. Constant ones go to the caption, others to a note at the cell."""

PUBLISHED = {"fp32": (("t4", BATCHES), ("v100", (1,))), "fp16": (("t4", BATCHES),)}
"""The published columns that stand beside a precision."""


def latency_tables(results: list[Result], models: Iterable[str] = MODELS) -> list[Table]:
    """For each device, runtime and protocol a table per precision; the published columns alone where nothing was measured."""
    names = tuple(models)

    def group(result: Result) -> tuple[str, ...]:
        case = result.case
        return (result.device.key, case.runtime, case.protocol)

    known = [result for result in results if result.case.model in names and result.case.protocol in PROTOCOLS]
    tables = []
    for _, members in groupby(sorted(known, key=group), key=group):
        here = list(members)
        tables += [_latency_table(here, precision, names) for precision in PUBLISHED]
        others = sorted({result.case.precision for result in here} - set(PUBLISHED))
        tables += [_latency_table(here, precision, names) for precision in others]
    return tables or [_latency_table([], precision, names) for precision in PUBLISHED]


def _latency_table(results: list[Result], precision: str, models: tuple[str, ...]) -> Table:
    here = {(result.case.model, result.case.batch): result for result in results if result.case.precision == precision}
    batches = sorted({*BATCHES, *(batch for _, batch in here)})
    caption, marks = _provenance(list(here.values()))
    notes: list[str] = []
    rows = []
    for model in models:
        measured = [_measured(here.get((model, batch)), marks, notes) for batch in batches]
        printed = [_printed(gpu, precision, model, batch) for gpu, sizes in PUBLISHED.get(precision, ()) for batch in sizes]
        rows.append((Cell(model, model), *measured, *printed))
    owner = _short(results[0]) if results else "here"
    columns = [f"{owner} b{batch}" for batch in batches]
    columns += [f"{gpu.upper()} published b{batch}" for gpu, sizes in PUBLISHED.get(precision, ()) for batch in sizes]
    title = f"Latency in ms, {precision.upper()}, {_owner(results)}"
    return Table(title, ("Model", *columns), tuple(rows), tuple(caption), tuple(notes))


def _provenance(results: list[Result]) -> tuple[list[str], dict[str, list[str]]]:
    """Facts that all good results share, as lines; and for each case the ones that are its own."""
    good = [result for result in results if not result.failure]
    if not good:
        return ["Nothing was measured at this precision."], {}
    texts = {name: {result.case.name: fact(result) for result in good} for name, fact in FACTS.items()}
    shared = [next(iter(by_case.values())) for by_case in texts.values() if len(set(by_case.values())) == 1]
    varying = [by_case for by_case in texts.values() if len(set(by_case.values())) > 1]
    own = {result.case.name: [by_case[result.case.name] for by_case in varying] for result in good}
    lines = [f"Measured: {'; '.join(filter(None, shared))}."]
    for row in (PROTOCOLS[name] for name in sorted({result.case.protocol for result in good})):
        lines.append(f"Protocol {row.name}: {row.statistic} of {row.metric}; {row.note}.")
    reasons = sorted({result.weights.fallback for result in good if result.weights and result.weights.fallback})
    return [*lines, *(f"Why seeded: {reason}" for reason in reasons)], own


def _measured(result: Result | None, own: dict[str, list[str]], notes: list[str]) -> Cell:
    if result is None:
        return Cell(None)
    if result.failure:
        return Cell(None, "failed", _note(f"{result.failure.kind}: {result.failure.reason}", notes))
    told = headline(result) * 1000
    facts = [*own.get(result.case.name, []), doubt(result)]
    return Cell(told, f"{told:.2f}", _note("; ".join(filter(None, facts)), notes))


def _note(text: str, notes: list[str]) -> str:
    """The mark of a note, which is added where it is new; none for an empty one."""
    if not text:
        return ""
    if text not in notes:
        notes.append(text)
    return f"[{notes.index(text) + 1}]"


def _printed(gpu: str, precision: str, model: str, batch: int) -> Cell:
    seconds = document().seconds(gpu, precision, model, batch)
    return Cell(None) if seconds is None else Cell(seconds * 1000, f"{seconds * 1000:.2f}")
