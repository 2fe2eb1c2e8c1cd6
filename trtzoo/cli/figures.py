"""`trtzoo figures`."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.accuracy.records import load_evaluations
from trtzoo.cli.common import Results, app, say, talk
from trtzoo.core.modules import require_module, resolve
from trtzoo.report.figures.pictures import pictures
from trtzoo.report.results import load_results


@app.command("figures")
def figures_command(
    folder: Results = Path("benchmarks"),
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("benchmarks/plots"),
) -> None:
    """Draw the four published figures with what was measured: accuracy against FLOPs, parameters and the T4's latencies.

    Examples: trtzoo figures; trtzoo figures --out plots
    """
    require_module("trtzoo figures", module="matplotlib", extra="report")
    results, complaints = load_results(folder)
    evaluations, more = load_evaluations(folder)
    for complaint in [*complaints, *more]:
        talk.print(f"skipped: {complaint}", style="yellow", markup=False)
    write = resolve("trtzoo.report.figures.drawing:write")
    for picture in pictures(results, evaluations):
        for path in write(picture, out):
            say(str(path))
    if complaints or more:
        raise typer.Exit(1)
