"""A comparison as a table. What is not in the table is in sentences. A column is a row of COLUMNS."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from trtzoo.core.records import Result
from trtzoo.report.compare.cells import ComparedCell, Comparison, Facts, conditions, identity, subject
from trtzoo.report.compare.verdicts import MARGIN, UNCLEAR, Ratio, geometric_mean
from trtzoo.report.tables.model import Column, Table, make_table


class Line(msgspec.Struct, frozen=True):
    """A row of the table: a cell, or the geometric mean of all cells."""

    name: str
    ratio: Ratio
    verdict: str
    cell: ComparedCell | None = None

    @property
    def runs(self) -> str | None:
        if not self.cell:
            return None
        return f"{len(self.cell.before)}+{len(self.cell.after)}{' interleaved' if self.cell.interleaved else ''}"

    @property
    def note(self) -> str:
        if self.cell and self.cell.warning:
            return f"proves nothing: {self.cell.warning}"
        return f"{self.cell.left_out} disturbed runs are left out" if self.cell and self.cell.left_out else ""


COLUMNS: tuple[Column[Line], ...] = (
    Column("Cell", lambda row: row.name),
    Column("A ms", lambda row: row.cell.seconds[0] * 1000 if row.cell else None, "{:.2f}"),
    Column("B ms", lambda row: row.cell.seconds[1] * 1000 if row.cell else None, "{:.2f}"),
    Column("B/A", lambda row: row.ratio.value, "{:.3f}"),
    Column("from", lambda row: row.ratio.low, "{:.3f}"),
    Column("to", lambda row: row.ratio.high, "{:.3f}"),
    Column("Runs", lambda row: row.runs),
    Column("Verdict", lambda row: row.verdict, note=lambda row: row.note),
)


def table(found: Comparison) -> Table:
    """Make a table with a row for each cell, and the geometric mean of several cells."""
    name = namer(_results(found))
    lines = [Line(name(cell.before[0]), cell.ratio, cell.verdict, cell) for cell in found.cells]
    sound = [cell.ratio for cell in found.cells if not cell.warning]
    if len(sound) > 1:
        mean = geometric_mean(sound)
        lines.append(Line("geometric mean", mean, mean.verdict))
    caption = [*_sides(found), *_reading(found), *sentences(found)]
    return make_table("B against A: reported latencies", COLUMNS, lines, caption)


def sentences(found: Comparison) -> list[str]:
    """Describe what does not compare and why, what failed, what one side lacks, and what was not measured again."""
    name = namer(_results(found))
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


def namer(results: Sequence[Result]) -> Callable[[Result], str]:
    """Return a function that names cells by model, precision, batch, and any other field that varies between the results."""
    facts = [identity(result) for result in results]
    varying = [field for field in ("protocol", "CUDA graph", "device") if len({one[field] for one in facts}) > 1]

    def name(result: Result) -> str:
        about = identity(result)
        return " ".join([about["model"], about["precision"], f"b{about['batch']}", *(about[field] for field in varying)])

    return name


def _results(found: Comparison) -> list[Result]:
    several = (*found.failed, *found.missing, *(cell.before for cell in found.cells))
    return [*(row.result for row in found.refused), *found.unchanged, *(result for side in several for result in side)]


# --- below the table ---


def _sides(found: Comparison) -> list[str]:
    """Describe what both sides share, and for each side what differs."""
    if not found.cells:
        return []
    old, new = (
        _common(identity(run) | conditions(run) | subject(run) for run in side)
        for side in ([run for cell in found.cells for run in cell.before], [run for cell in found.cells for run in cell.after])
    )
    both = {field: value for field, value in old.items() if new.get(field) == value}
    lines = [f"Both: {_listed(both)}."]
    for side, facts in (("A", old), ("B", new)):
        if differing := _listed({field: value for field, value in facts.items() if field not in both}):
            lines.append(f"{side}: {differing}.")
    return lines


def _listed(facts: Facts) -> str:
    return "; ".join(f"{field} {value}" for field, value in facts.items() if field not in ("model", "precision", "batch"))


def _common(facts: Iterable[Facts]) -> Facts:
    """Return each field's values, joined by "or"."""
    found: dict[str, dict[str, None]] = {}
    for one in facts:
        for field, value in one.items():
            found.setdefault(field, {})[value] = None
    return {field: " or ".join(values) for field, values in found.items()}


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
