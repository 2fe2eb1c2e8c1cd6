"""`trtzoo figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtzoo import accuracy
from trtzoo.cli.common import Results, app, say, talk
from trtzoo.report.figures import pictures
from trtzoo.report.load import load
from trtzoo.spec import need, resolve


@app.command("figures")
def figures_command(
    folder: Results = Path("benchmarks"),
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("benchmarks/plots"),
) -> None:
    """Draw the four published figures with what was measured: accuracy against FLOPs, parameters and the T4's latencies.

    Examples: trtzoo figures; trtzoo figures --out plots
    """
    need("trtzoo figures", module="matplotlib", extra="report")
    results, complaints = load(folder)
    evaluations, more = accuracy.load(folder)
    for complaint in [*complaints, *more]:
        talk.print(f"skipped: {complaint}", style="yellow", markup=False)
    write = resolve("trtzoo.report.drawing:write")
    for picture in pictures(results, evaluations):
        for path in write(picture, out):
            say(str(path))
    if complaints or more:
        raise typer.Exit(1)
