"""`trtzoo compare`."""

import re
from typing import Annotated

import typer

from trtzoo.cli import options
from trtzoo.cli.application import command
from trtzoo.core.console import log
from trtzoo.core.errors import UsageError
from trtzoo.report.compare.sides import read_side
from trtzoo.report.tables.formats import render


@command("compare")
def compare_command(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A result file, a folder of them, or git's revision:path; a comma list of runs.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same for the other side.")],
    gate: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Exit with 1 if B is proven slower than A by more than this.")
    ] = None,
    form: options.Format = "rich",
) -> None:
    """Compare two measurements cell by cell: is B slower than A, faster, or the same, and is that proven?

    Examples: trtzoo compare old/ new/; trtzoo compare HEAD~1:benchmarks benchmarks --gate 3%;
    trtzoo compare a1,a2,a3 b1,b2,b3
    """
    from trtzoo.report.compare.cells import compare
    from trtzoo.report.compare.table import sentences, table

    if gate is not None and not re.fullmatch(r"\d{1,3}(\.\d+)?%", gate):
        raise UsageError(f"--gate {gate!r} is not a percentage. Example: --gate 3%")
    (old, skipped), (new, also_skipped) = read_side(before), read_side(after)
    complaints = [*skipped, *also_skipped]
    for complaint in complaints:
        log.error("skipped: %s", complaint)
    found = compare(old, new)
    if not found.cells and not found.unchanged:
        raise UsageError(" ".join(["Nothing can be compared.", *sentences(found)]))
    print(render([table(found)], form), end="")
    slower = [cell for cell in found.cells if gate and cell.slower_than(float(gate[:-1]) / 100)]
    if slower:
        log.error("%d of %d cells are slower by more than %s.", len(slower), len(found.cells), gate)
    if slower or complaints or found.refused or found.broken:
        raise typer.Exit(1)
