"""`trtzoo table`, `figures`, `report` and `compare`: what was published and measured, from the result files alone."""

import re
from pathlib import Path
from typing import Annotated, NamedTuple

from typer import Argument, Option

from trtzoo.accuracy.records import Evaluation, load_evaluations
from trtzoo.builder.plan import pluralize
from trtzoo.cli import options
from trtzoo.cli.application import command, print_json
from trtzoo.core.console import log, print_lines, print_result
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.files import replacing
from trtzoo.core.modules import require_module
from trtzoo.core.system import limit_blas
from trtzoo.report.compare.sides import read_side
from trtzoo.report.explain import PUBLISHED, explain, explain_published, listing, select, select_published
from trtzoo.report.figures.pictures import pictures
from trtzoo.report.filtering import filtered, filtered_published, read_filters
from trtzoo.report.results import Found, load_files
from trtzoo.report.tables.accuracy import accuracy_table, evaluation_tables
from trtzoo.report.tables.cells import FIELDS, cell_records, records_json
from trtzoo.report.tables.formats import records_csv, render
from trtzoo.report.tables.latency import latency_tables, limit_tables
from trtzoo.report.verdict import Verdict, load_verdicts

EMPTY = "%s has no results. To measure: trtzoo bench --all --gpu auto"
PUBLISHED_TOO = "To measure: trtzoo bench. For what was published: trtzoo table --published"


class _Read(NamedTuple):
    """Results with their files, evaluations, verdicts, and a sentence for each file that was skipped."""

    found: list[Found]
    evaluations: list[Evaluation]
    verdicts: list[Verdict]
    complaints: list[str]


def _read(folder: Path) -> _Read:
    """What is in a folder; the sentences are logged."""
    (found, complaints), (evaluations, more), (verdicts, most) = (
        load_files(folder),
        load_evaluations(folder),
        load_verdicts(folder),
    )
    for complaint in [*complaints, *more, *most]:
        log.warning("skipped: %s", complaint)
    return _Read(found, evaluations, verdicts, [*complaints, *more, *most])


@command("table")
def table(
    folder: options.Results = Path("benchmarks"),
    form: options.Format = "rich",
    model: options.ModelFilter = None,
    device: options.DeviceFilter = None,
    runtime: options.RuntimeFilter = None,
    protocol: options.ProtocolFilter = None,
    precision: options.PrecisionFilter = None,
    batch: options.BatchFilter = None,
    every: Annotated[
        bool, Option("--published", help="Show all published numbers, also of what was not measured (default: if nothing was).")
    ] = False,
    limits: Annotated[bool, Option("--limits", help="Add each latency's share of the device's theoretical limit.")] = False,
    cell: Annotated[
        str | None, Option("--explain", metavar="WORDS", help="Everything known about one number: dpn131,fp16,b4.")
    ] = None,
) -> bool:
    """Show what was measured, with the published values beside it, from the result files alone.

    csv and json have one record for each number, for programs.

    Examples: trtzoo table; trtzoo table --published --format md > TABLES.md; trtzoo table --model dpn68 --device cpu;
    trtzoo table --explain dpn68,fp32,b1
    """
    found, evaluations, verdicts, complaints = _read(folder)
    if not found and not evaluations:
        log.warning(EMPTY, folder)
        every = True
    words = {"model": model, "device": device, "runtime": runtime, "protocol": protocol}
    filters = read_filters([*(row.result for row in found), *evaluations], **words, precision=precision, batch=batch)
    kept = {*map(id, filtered((row.result for row in found), filters))}
    found, evaluations = [row for row in found if id(row.result) in kept], filtered(evaluations, filters)
    results = [row.result for row in found]
    if cell is not None:
        _explain(found, verdicts, cell, form)
        return bool(complaints)
    printed = filtered_published(filters) if every else []
    if form in ("csv", "json"):
        records = cell_records(results, evaluations, printed, verdicts)
        print(records_csv(records, FIELDS) if form == "csv" else records_json(records, complaints), end="")
    else:
        if not results and not evaluations and not printed:
            log.warning("No result is of %s. %s", "; ".join(", ".join(each) for each in filters.values()), PUBLISHED_TOO)
        measured = [*(row.subject for row in results), *(row.subject for row in evaluations)]
        subjects = None if every and not filters else measured
        tables = latency_tables(results, published=printed, verdicts=verdicts)
        tables += [*(limit_tables(results, published=printed) if limits else [])]
        tables += [*evaluation_tables(evaluations), *([accuracy_table(subjects)] if subjects != [] else [])]
        print(render(tables, form), end="")
    return bool(complaints)


def _explain(found: list[Found], verdicts: list[Verdict], words: str, form: str) -> None:
    """Print everything about the number that the words select, or the words for each of several.

    It is a measured one; a published one if nothing was measured, or if "published" is among the words.
    """
    try:
        selected = select(found, words)
        facts, lines = [explain(row, verdicts) for row in selected], listing(selected)
    except StoreError as error:
        facts = [explain_published(cell) for cell in select_published(words)]
        lines = [each["Cell"] for each in facts]
        if not facts:
            raise
        if PUBLISHED not in words.lower():
            log.warning("%s", error)
    if form == "json":
        print_json(facts)
    elif len(facts) > 1:
        log.info("%r selects %d results. To see one:", words, len(facts))
        print_lines(f"--explain {line}" for line in lines)
    else:
        print_lines(f"{name:<18}{value}" for name, value in facts[0].items())


@command("figures")
def figures(
    folder: options.Results = Path("benchmarks"),
    out: Annotated[Path, Option(help="Folder for the figures.")] = Path("benchmarks/plots"),
    model: options.ModelFilter = None,
    device: options.DeviceFilter = None,
    runtime: options.RuntimeFilter = None,
    protocol: options.ProtocolFilter = None,
) -> bool:
    """Draw the four published figures with the measured points: accuracy against FLOPs, parameters and the T4's latencies.

    The latencies are of one device, runtime and protocol: by default the published GPU's, or else those of the most models.

    Examples: trtzoo figures; trtzoo figures --device cpu --runtime openvino --out plots
    """
    for module in ("matplotlib", "adjustText"):
        require_module("trtzoo figures", module=module, extra="report")
    limit_blas()
    from trtzoo.report.figures.drawing import write

    found, evaluations, _, complaints = _read(folder)
    results = [row.result for row in found]
    filters = read_filters([*results, *evaluations], model=model, device=device, runtime=runtime, protocol=protocol)
    for picture in pictures(filtered(results, filters), filtered(evaluations, filters)):
        for path in write(picture, out):
            print_result(str(path))
    return bool(complaints)


@command("report")
def report(
    folder: options.Results = Path("benchmarks"),
    out: Annotated[Path, Option(help="The file to write.")] = Path("report.html"),
) -> bool:
    """Write one self-contained HTML page: tables, figures, raw samples, and the source of each number.

    Examples: trtzoo report; trtzoo report --results benchmarks --out page.html
    """
    require_module("trtzoo report", module="vl_convert", extra="report")
    found, evaluations, verdicts, complaints = _read(folder)
    if not found:
        log.warning(EMPTY, folder)
    from trtzoo.report.page.page import page

    text = page(found, evaluations, complaints, folder=folder, verdicts=verdicts)
    with replacing(out, lock=False) as work:
        (work / out.name).write_bytes(text)
    print_result(f"{out}  {pluralize(len(found), 'result')}, {len(text) / 1e6:.2f} MB")
    return bool(complaints)


@command("compare")
def compare(
    before: Annotated[
        str, Argument(metavar="A", help="A result file, a folder of them, or git's revision:path; a comma list of runs.")
    ],
    after: Annotated[str, Argument(metavar="B", help="The same for the other side.")],
    gate: Annotated[
        str | None, Option(metavar="PERCENT", help="Exit with 1 if B is proven slower than A by more than this.")
    ] = None,
    form: options.Format = "rich",
) -> bool:
    """Compare two measurements cell by cell: is B slower than A, faster, or the same, and is that proven?

    Examples: trtzoo compare old/ new/; trtzoo compare HEAD~1:benchmarks benchmarks --gate 3%;
    trtzoo compare a1,a2,a3 b1,b2,b3
    """
    from trtzoo.report.compare import cells
    from trtzoo.report.compare.table import sentences
    from trtzoo.report.compare.table import table as comparison_table

    if gate is not None and not re.fullmatch(r"\d{1,3}(\.\d+)?%", gate):
        raise UsageError(f"--gate {gate!r} is not a percentage. Example: --gate 3%")
    (old, skipped), (new, also_skipped) = read_side(before), read_side(after)
    complaints = [*skipped, *also_skipped]
    for complaint in complaints:
        log.error("skipped: %s", complaint)
    found = cells.compare(old, new)
    if not found.cells and not found.unchanged:
        raise UsageError(" ".join(["Nothing can be compared.", *sentences(found)]))
    print(render([comparison_table(found)], form), end="")
    slower = [cell for cell in found.cells if gate and cell.slower_than(float(gate[:-1]) / 100)]
    if slower:
        log.error("%d of %d cells are slower by more than %s.", len(slower), len(found.cells), gate)
    return bool(slower or complaints or found.refused or found.broken)
