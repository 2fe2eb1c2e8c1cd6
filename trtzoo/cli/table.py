"""`trtzoo models` and `trtzoo table`: what is known, and what was measured."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from trtzoo.accuracy.records import load_evaluations
from trtzoo.cli.common import Results, app, talk
from trtzoo.core.modules import resolve
from trtzoo.models.table import MODELS, Count
from trtzoo.report.explain import explain, listing, select
from trtzoo.report.results import Found, load_files
from trtzoo.report.tables.accuracy import accuracy_table, evaluation_tables
from trtzoo.report.tables.formats import FORMATS, render
from trtzoo.report.tables.latency import latency_tables
from trtzoo.report.tables.limits import limit_tables
from trtzoo.report.tables.model import Cell, Table

Format = Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")]


@app.command("models")
def models_command(
    form: Format = "rich",
    count: Annotated[bool, typer.Option("--count", help="Count again from the networks, by both conventions.")] = False,
) -> None:
    """The ten networks: accuracy, FLOPs and parameters, published and exact.

    Examples: trtzoo models; trtzoo models --count; trtzoo models --format json
    """
    print(render([_recount() if count else accuracy_table()], form), end="")


@app.command("table")
def table_command(
    folder: Results = Path("benchmarks"),
    form: Format = "rich",
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Only results of devices with this in their name; cpu for all CPUs.")
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits", help="Also the share of the device's limit that each latency reaches.")
    ] = False,
    cell: Annotated[
        str | None,
        typer.Option("--explain", metavar="WORDS", help="All that is known of one number, such as dpn131,fp16,b4."),
    ] = None,
) -> None:
    """The published tables with what was measured beside them, from the result files alone.

    Examples: trtzoo table; trtzoo table --format md > TABLES.md; trtzoo table --gpu cpu; trtzoo table --explain dpn68,fp32,b1
    """
    found, complaints = load_files(folder)
    evaluations, more = load_evaluations(folder)
    for complaint in [*complaints, *more]:
        talk.print(f"skipped: {complaint}", style="yellow", markup=False)
    if gpu:
        found = [row for row in found if gpu.lower() in (row.result.device.kind, *row.result.device.key.split("-"))]
        evaluations = [row for row in evaluations if gpu.lower() in (row.device.kind, *row.device.key.split("-"))]
    results = [row.result for row in found]
    if cell is not None:
        _explain(found, cell, form)
    else:
        if not results:
            told = f"Nothing measured is in {folder}. To measure: trtzoo bench --all --gpu auto"
            talk.print(told, style="yellow", markup=False)
        tables = [accuracy_table(), *evaluation_tables(evaluations), *latency_tables(results)]
        print(render([*tables, *(limit_tables(results) if limits else [])], form), end="")
    if complaints or more:
        raise typer.Exit(1)


def _explain(found: list[Found], text: str, form: str) -> None:
    """One result told whole; or, where several are meant, the words for each."""
    chosen = select(found, text)
    told = [explain(row) for row in chosen]
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
    elif len(chosen) > 1:
        talk.print(f"{text!r} means {len(chosen)} results. One of them:", markup=False)
        print("\n".join(f"--explain {line}" for line in listing(chosen)))
    else:
        print("\n".join(f"{name:<18}{words}" for name, words in told[0].items()))


def _recount() -> Table:
    """The networks' own counts by both conventions, beside the printed ones."""
    counter, published = resolve("trtzoo.models.count:count"), resolve("trtzoo.report.published:document")().models
    rows = []
    for name, model in MODELS.items():
        exact: Count = counter(model)
        theirs: Count = counter(model, "paddle2019")
        printed = published.get(name)
        flops, params = theirs.flops / 1e9, theirs.params / 1e6
        gflops, mparams = (printed.gflops, printed.mparams) if printed else (None, None)
        same = Cell(None) if printed is None else _verdict((round(flops, 2), round(params, 2)) == (gflops, mparams))
        numbers = [exact.flops / 1e9, flops, gflops, exact.params / 1e6, params, mparams]
        rows.append(
            (Cell(name, name), *(Cell(None) if value is None else Cell(value, f"{value:.2f}") for value in numbers), same)
        )
    columns = ("exact", "2019", "published")
    names = ("Model", *(f"FLOPs (G) {c}" for c in columns), *(f"Params (M) {c}" for c in columns), "same")
    return Table("Counted from the networks", names, tuple(rows), accuracy_table().caption)


def _verdict(same: bool) -> Cell:
    return Cell("yes" if same else "no", "yes" if same else "NO")
