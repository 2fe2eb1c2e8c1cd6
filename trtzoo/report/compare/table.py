"""A comparison as a table. What is not in the table is in sentences."""

from collections import defaultdict
from collections.abc import Callable
from itertools import chain

from trtzoo.core.records import Result
from trtzoo.report.compare.cells import ComparedCell, Comparison, conditions, identity, median_clock, power_capped, subject
from trtzoo.report.compare.verdicts import MARGIN, UNCLEAR, mean_ratio
from trtzoo.report.tables.model import Column, Table, make_table


def table(found: Comparison) -> Table:
    """Make a table with a row for each cell, and the geometric mean of several cells, which has neither runs nor seconds."""
    name = _namer(found)
    cells, sound = list(found.cells), [cell.ratio for cell in found.cells if not cell.warning]
    if len(sound) > 1:
        cells.append(ComparedCell((), (), None, mean_ratio(sound), interleaved=False))
    columns: tuple[Column[ComparedCell], ...] = (
        Column("Cell", lambda cell: name(cell.before[0]) if cell.before else "geometric mean"),
        Column("A ms", lambda cell: cell.seconds and cell.seconds[0] * 1000, "{:.2f}"),
        Column("B ms", lambda cell: cell.seconds and cell.seconds[1] * 1000, "{:.2f}"),
        Column("B/A", lambda cell: cell.ratio.value, "{:.3f}"),
        Column("from", lambda cell: cell.ratio.low, "{:.3f}"),
        Column("to", lambda cell: cell.ratio.high, "{:.3f}"),
        Column("Runs", _runs),
        Column("Verdict", lambda cell: cell.verdict, note=_note),
    )
    caption = [*_sides(found), *_power_caps(found), *_reading(found), *sentences(found)]
    return make_table("B against A: reported latencies", columns, cells, caption)


def _runs(cell: ComparedCell) -> str | None:
    runs = f"{len(cell.before)}+{len(cell.after)}{' interleaved' if cell.interleaved else ''}"
    return runs if cell.before else None


def _note(cell: ComparedCell) -> str:
    if cell.warning:
        return f"proves nothing: {cell.warning}"
    return f"{cell.left_out} disturbed runs are left out" if cell.left_out else ""


def sentences(found: Comparison) -> list[str]:
    """Describe what does not compare and why, what failed, what one side lacks, and what was not measured again."""
    name = _namer(found)
    reasons: dict[str, list[str]] = {}
    for row in found.refused:
        reason = f"{row.field} is {row.before} in {row.sides[0]} and {row.after} in {row.sides[1]}"
        reasons.setdefault(reason, []).append(name(row.result))
    lines = [f"Not compared, because {reason}: {', '.join(names)}." for reason, names in reasons.items()]
    for side, failed, missing in zip("AB", found.failed, found.missing, strict=True):
        lines += [f"Failed in {side}: {name(row)}: {row.failure.kind}: {row.failure.reason}" for row in failed if row.failure]
        if missing:
            lines.append(f"In {side} only: {', '.join(map(name, missing))}.")
    if found.unchanged:
        lines.append(f"The same run on both sides, not measured again: {', '.join(map(name, found.unchanged))}.")
    return lines


def _namer(found: Comparison) -> Callable[[Result], str]:
    """Return a function that names cells by model, precision, batch, and any other field that varies between the results."""
    several = [*found.failed, *found.missing, found.unchanged, *(cell.before for cell in found.cells)]
    facts = [identity(result) for result in (*chain(*several), *(row.result for row in found.refused))]
    varying = [field for field in ("protocol", "CUDA graph", "device") if len({one[field] for one in facts}) > 1]

    def name(result: Result) -> str:
        about = identity(result)
        return " ".join([about["model"], about["precision"], f"b{about['batch']}", *(about[field] for field in varying)])

    return name


# --- below the table ---


def _sides(found: Comparison) -> list[str]:
    """Describe what both sides share, and for each side what differs. Several values of a field are joined by "or"."""
    sides = []
    for runs in ([cell.before for cell in found.cells], [cell.after for cell in found.cells]):
        values: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for run in chain(*runs):
            for field, value in (identity(run) | conditions(run) | subject(run)).items():
                values[field][value] = None
        names = [field for field in values if field not in ("model", "precision", "batch")]
        sides.append([f"{field} {' or '.join(values[field])}" for field in names])
    old, new = sides
    parts = (
        ("Both", [fact for fact in old if fact in new]),
        ("A", [fact for fact in old if fact not in new]),
        ("B", [fact for fact in new if fact not in old]),
    )
    return [f"{side}: {'; '.join(facts)}." for side, facts in parts if facts]


def _power_caps(found: Comparison) -> list[str]:
    """Name the cells with a power cap on both sides, and the range of each side's SM clocks over these cells."""
    cells = [cell for cell in found.cells if all(any(map(power_capped, side)) for side in (cell.before, cell.after))]
    if not cells:
        return []
    name, clocks = _namer(found), []
    for side, runs in (("A", [cell.before for cell in cells]), ("B", [cell.after for cell in cells])):
        known = [clock / 1e6 for clock in (median_clock(each, "sm_clock") for each in runs) if clock]
        clocks += [f"{min(known):.0f} to {max(known):.0f} MHz in {side}"] if known else []
    return [
        f"Software power cap on both sides, a condition of these cells: {', '.join(name(cell.before[0]) for cell in cells)}.",
        *([f"Their median SM clocks: {', '.join(clocks)}."] if clocks else []),
    ]


def _reading(found: Comparison) -> list[str]:
    """Explain the verdicts, and what to do if there is none."""
    lines = [
        f"SAME: proven to be within {MARGIN:.0%} of each other; SLOWER, FASTER: proven for B against A; UNCLEAR: nothing is "
        "proven. From and to are the ratio's 95 % interval. Samples within a run are autocorrelated, so each run counts as one "
        "observation."
    ]
    if any(cell.verdict == UNCLEAR for cell in found.cells):
        lines.append(
            "For a clear verdict, measure both again with bench --runs 5, which finds 5 %, or interleaved, A B A B, each into "
            "its own folder, and name all folders: trtzoo compare A1,A2,A3 B1,B2,B3."
        )
    return lines
