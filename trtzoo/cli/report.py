"""`trtzoo report`: the page."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.accuracy.records import load_evaluations
from trtzoo.cli.common import Results, app, say, talk
from trtzoo.core.files import replacing
from trtzoo.core.modules import require_module, resolve
from trtzoo.report.results import load_files


@app.command("report")
def report_command(
    folder: Results = Path("benchmarks"),
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("report.html"),
) -> None:
    """Write everything into one HTML page that needs no network: tables, figures, raw samples, where each number is from.

    Examples: trtzoo report; trtzoo report --results benchmarks --out page.html
    """
    require_module("trtzoo report", module="vl_convert", extra="report")
    found, complaints = load_files(folder)
    evaluations, more = load_evaluations(folder)
    complaints += more
    for complaint in complaints:
        talk.print(f"skipped: {complaint}", style="yellow", markup=False)
    if not found:
        talk.print(f"Nothing measured is in {folder}. To measure: trtzoo bench --all --gpu auto", style="yellow", markup=False)
    text: bytes = resolve("trtzoo.report.page.page:page")(found, evaluations, complaints, folder=folder)
    with replacing(out, lock=False) as work:
        (work / out.name).write_bytes(text)
    say(f"{out}  {len(found)} {'result' if len(found) == 1 else 'results'}, {len(text) / 1e6:.2f} MB")
    if complaints:
        raise typer.Exit(1)
