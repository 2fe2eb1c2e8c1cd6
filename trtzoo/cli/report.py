"""`trtzoo report`: the page."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.builder.plan import pluralize
from trtzoo.cli import options
from trtzoo.cli.application import command
from trtzoo.cli.files import exit_if_skipped, read_folder, warn_if_empty
from trtzoo.core.console import print_result
from trtzoo.core.files import replacing
from trtzoo.core.modules import require_module


@command("report")
def report_command(
    folder: options.Results = Path("benchmarks"),
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page: tables, figures, raw samples, and the source of each number.

    Examples: trtzoo report; trtzoo report --results benchmarks --out page.html
    """
    require_module("trtzoo report", module="vl_convert", extra="report")
    found, evaluations, complaints = read_folder(folder)
    warn_if_empty(folder, found)
    from trtzoo.report.page.page import page

    text = page(found, evaluations, complaints, folder=folder)
    with replacing(out, lock=False) as work:
        (work / out.name).write_bytes(text)
    print_result(f"{out}  {pluralize(len(found), 'result')}, {len(text) / 1e6:.2f} MB")
    exit_if_skipped(complaints)
