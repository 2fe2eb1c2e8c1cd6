"""`trtzoo models` and `trtzoo table`: what is known, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.cli.common import Results, app, talk
from trtzoo.models import MODELS
from trtzoo.report.formats import FORMATS, render
from trtzoo.report.load import load
from trtzoo.report.tables import Cell, Table, accuracy_table, latency_tables
from trtzoo.spec import Count, resolve

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
) -> None:
    """The published tables with what was measured beside them, from the result files alone.

    Examples: trtzoo table; trtzoo table --format md > TABLES.md; trtzoo table --gpu cpu
    """
    results, complaints = load(folder)
    for complaint in complaints:
        talk.print(f"skipped: {complaint}", style="yellow", markup=False)
    if gpu:
        results = [result for result in results if gpu.lower() in (result.device.kind, *result.device.key.split("-"))]
    if not results:
        talk.print(f"Nothing measured is in {folder}. To measure: trtzoo bench --all --gpu auto", style="yellow", markup=False)
    print(render([accuracy_table(), *latency_tables(results)], form), end="")


def _recount() -> Table:
    """The networks' own counts by both conventions, beside the printed ones."""
    counter, published = resolve("trtzoo.models.count:count"), resolve("trtzoo.report.published:document")().models
    rows = []
    for name, model in MODELS.items():
        exact: Count = counter(model)
        theirs: Count = counter(model, "paddle2019")
        printed = published[name]
        flops, params = theirs.flops / 1e9, theirs.params / 1e6
        same = (round(flops, 2), round(params, 2)) == (printed.gflops, printed.mparams)
        numbers = [exact.flops / 1e9, flops, printed.gflops, exact.params / 1e6, params, printed.mparams]
        rows.append((Cell(name, name), *(Cell(value, f"{value:.2f}") for value in numbers), _verdict(same)))
    columns = ("exact", "2019", "published")
    names = ("Model", *(f"FLOPs (G) {c}" for c in columns), *(f"Params (M) {c}" for c in columns), "same")
    return Table("Counted from the networks", names, tuple(rows), accuracy_table().caption)


def _verdict(same: bool) -> Cell:
    return Cell("yes" if same else "no", "yes" if same else "NO")
