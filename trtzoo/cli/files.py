"""What `table`, `figures` and `report` read: a folder of results."""

from pathlib import Path

import typer

from trtzoo.accuracy.records import Evaluation, load_evaluations
from trtzoo.core.console import log
from trtzoo.report.results import Found, load_files


def read_folder(folder: Path) -> tuple[list[Found], list[Evaluation], list[str]]:
    """Results with their files, evaluations, and a sentence for each file that was skipped; the sentences are logged."""
    found, complaints = load_files(folder)
    evaluations, more = load_evaluations(folder)
    for complaint in [*complaints, *more]:
        log.warning("skipped: %s", complaint)
    return found, evaluations, [*complaints, *more]


def warn_if_empty(folder: Path, found: list[Found]) -> None:
    """Log how to measure if there are no results."""
    if not found:
        log.warning("%s has no results. To measure: trtzoo bench --all --gpu auto", folder)


def exit_if_skipped(complaints: list[str]) -> None:
    """End the command with exit code 1 if a file was skipped."""
    if complaints:
        raise typer.Exit(1)
