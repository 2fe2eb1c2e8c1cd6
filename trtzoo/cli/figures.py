"""`trtzoo figures`."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.cli import options
from trtzoo.cli.application import command
from trtzoo.cli.files import exit_if_skipped, read_folder
from trtzoo.core.console import print_result
from trtzoo.core.modules import require_module
from trtzoo.report.figures.pictures import pictures


@command("figures")
def figures_command(
    folder: options.Results = Path("benchmarks"),
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("benchmarks/plots"),
) -> None:
    """Draw the four published figures with the measured points: accuracy against FLOPs, parameters and the T4's latencies.

    Examples: trtzoo figures; trtzoo figures --out plots
    """
    for module in ("matplotlib", "adjustText"):
        require_module("trtzoo figures", module=module, extra="report")
    from trtzoo.report.figures.drawing import write

    found, evaluations, complaints = read_folder(folder)
    for picture in pictures([row.result for row in found], evaluations):
        for path in write(picture, out):
            print_result(str(path))
    exit_if_skipped(complaints)
