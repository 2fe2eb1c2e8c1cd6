"""`trtzoo models`: the networks."""

from typing import Annotated

import typer

from trtzoo.cli import options
from trtzoo.cli.application import command
from trtzoo.models.table import MODELS
from trtzoo.report.published import document
from trtzoo.report.tables.accuracy import accuracy_table
from trtzoo.report.tables.formats import render
from trtzoo.report.tables.model import Cell, Table


@command("models")
def models_command(
    form: options.Format = "rich",
    count: Annotated[bool, typer.Option("--count", help="Recount from the networks, by both conventions.")] = False,
) -> None:
    """List the ten networks: accuracy, FLOPs and parameters, published and exact.

    Examples: trtzoo models; trtzoo models --count; trtzoo models --format json
    """
    print(render([_recount() if count else accuracy_table()], form), end="")


def _recount() -> Table:
    """The networks' own counts by both conventions beside the published ones."""
    from trtzoo.models.count import count

    published = document().models
    rows = []
    for name, model in MODELS.items():
        exact, theirs, printed = count(model), count(model, "paddle2019"), published.get(name)
        flops, params = theirs.flops / 1e9, theirs.params / 1e6
        numbers = [exact.flops / 1e9, flops, None, exact.params / 1e6, params, None]
        same = Cell(None)
        if printed:
            numbers[2], numbers[5] = printed.gflops, printed.mparams
            equal = (round(flops, 2), round(params, 2)) == (printed.gflops, printed.mparams)
            same = Cell("yes", "yes") if equal else Cell("no", "NO")
        rows.append(
            (Cell(name, name), *(Cell(None) if value is None else Cell(value, f"{value:.2f}") for value in numbers), same)
        )
    columns = ("exact", "2019", "published")
    names = ("Model", *(f"FLOPs (G) {c}" for c in columns), *(f"Params (M) {c}" for c in columns), "same")
    return Table("Counted from the networks", names, tuple(rows), accuracy_table().caption)
