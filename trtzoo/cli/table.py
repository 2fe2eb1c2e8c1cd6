"""`trtzoo table`: what was published and what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.cli import options
from trtzoo.cli.application import command, print_json
from trtzoo.cli.files import exit_if_skipped, read_folder, warn_if_empty
from trtzoo.core.console import log
from trtzoo.core.records import Device
from trtzoo.report.explain import explain, listing, select
from trtzoo.report.results import Found
from trtzoo.report.tables.accuracy import accuracy_table, evaluation_tables
from trtzoo.report.tables.formats import render
from trtzoo.report.tables.latency import latency_tables, limit_tables


@command("table")
def table_command(
    folder: options.Results = Path("benchmarks"),
    form: options.Format = "rich",
    gpu: Annotated[
        str | None, typer.Option(help="Only results of devices with this word in their name; cpu for all CPUs.")
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits", help="Add each latency's share of the device's theoretical limit.")
    ] = False,
    cell: Annotated[
        str | None, typer.Option("--explain", metavar="WORDS", help="Everything known about one number: dpn131,fp16,b4.")
    ] = None,
) -> None:
    """Show the published tables with the measured values beside them, from the result files alone.

    Examples: trtzoo table; trtzoo table --format md > TABLES.md; trtzoo table --gpu cpu; trtzoo table --explain dpn68,fp32,b1
    """
    found, evaluations, complaints = read_folder(folder)
    if gpu:
        found = [row for row in found if _is_called(row.result.device, gpu)]
        evaluations = [row for row in evaluations if _is_called(row.device, gpu)]
    if cell is not None:
        _explain(found, cell, form)
    else:
        warn_if_empty(folder, found)
        results = [row.result for row in found]
        tables = [accuracy_table(), *evaluation_tables(evaluations), *latency_tables(results)]
        print(render([*tables, *(limit_tables(results) if limits else [])], form), end="")
    exit_if_skipped(complaints)


def _is_called(device: Device, word: str) -> bool:
    return word.lower() in (device.kind, *device.key.split("-"))


def _explain(found: list[Found], words: str, form: str) -> None:
    """Print everything about the one result that the words select, or the words for each of several."""
    selected = select(found, words)
    facts = [explain(row) for row in selected]
    if form == "json":
        print_json(facts)
    elif len(selected) > 1:
        log.info("%r selects %d results. To see one:", words, len(selected))
        print("\n".join(f"--explain {line}" for line in listing(selected)))
    else:
        print("\n".join(f"{name:<18}{value}" for name, value in facts[0].items()))
