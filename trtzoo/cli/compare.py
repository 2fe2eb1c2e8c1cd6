"""`trtzoo compare`."""

import re
from typing import Annotated

import typer

from trtzoo.cli import completion
from trtzoo.cli.common import app, talk
from trtzoo.core.errors import UsageError
from trtzoo.core.modules import resolve
from trtzoo.report.compare.sides import read_side
from trtzoo.report.tables.formats import FORMATS, render


@app.command("compare")
def compare_command(
    before: Annotated[str, typer.Argument(metavar="A", help="A result file, a folder of them, or revision:path of git.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same. A comma list on either side is repeated runs.")],
    gate: Annotated[
        str | None, typer.Option("--gate", metavar="PERCENT", help="Exit 1 where B is proven to be slower than A by more.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.", autocompletion=completion.form)] = "rich",
) -> None:
    """Compare two measurements cell by cell: is B slower than A, faster, or the same, and is that proven?

    Examples: trtzoo compare old/ new/; trtzoo compare HEAD~1:benchmarks benchmarks --gate 3%;
    trtzoo compare a1,a2,a3 b1,b2,b3
    """
    limit = None if gate is None else _share(gate)
    sides = [read_side(text) for text in (before, after)]
    complaints = [complaint for side in sides for complaint in side.complaints]
    for complaint in complaints:
        talk.print(f"skipped: {complaint}", style="red", markup=False)
    table, sentences = (resolve(f"trtzoo.report.compare.table:{name}") for name in ("table", "sentences"))
    found = resolve("trtzoo.report.compare.cells:compare")(*([run.result for run in side.runs] for side in sides))
    if not found.cells and not found.unchanged:
        raise UsageError(" ".join(["Nothing compares.", *sentences(found)]))
    print(render([table(found)], form), end="")
    slower = [] if limit is None else [cell for cell in found.cells if cell.slower_than(limit)]
    if slower:
        talk.print(f"{len(slower)} of {len(found.cells)} cells are slower by more than {gate}.", style="red", markup=False)
    if slower or complaints or found.refused or found.broken:
        raise typer.Exit(1)


def _share(text: str) -> float:
    """Percent as a share: 3% is 0.03."""
    if not re.fullmatch(r"\d{1,3}(\.\d+)?%", text):
        raise UsageError(f"--gate {text!r} is not a percentage. Example: --gate 3%")
    return float(text[:-1]) / 100
