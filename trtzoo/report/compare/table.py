"""A comparison as a table, and what is not in it as sentences."""

from collections.abc import Callable, Iterable, Sequence

from trtzoo.core.records import Result
from trtzoo.report.compare.cells import ComparedCell as Compared
from trtzoo.report.compare.cells import Comparison, Facts, conditions, identity, subject
from trtzoo.report.compare.verdicts import MARGIN, UNCLEAR, Ratio, geometric_mean
from trtzoo.report.tables.model import Cell, Table

COLUMNS = ("Cell", "A ms", "B ms", "B/A", "from", "to", "Runs", "Verdict")

Name = Callable[[Result], str]


def table(found: Comparison) -> Table:
    """A row a cell, and their geometric mean where there are several."""
    name = namer(_results(found))
    notes: list[str] = []
    rows = [_row(cell, name, notes) for cell in found.cells]
    sound = [cell.ratio for cell in found.cells if not cell.doubt]
    if len(sound) > 1:
        mean = geometric_mean(sound)
        rows.append((_text("geometric mean"), Cell(None), Cell(None), *_numbers(mean), Cell(None), _text(mean.verdict)))
    caption = [*_sides(found), *_reading(found), *sentences(found)]
    return Table("B against A: headline latencies", COLUMNS, tuple(rows), tuple(caption), tuple(notes))


def sentences(found: Comparison) -> list[str]:
    """What does not compare and by which field, what failed, what one side lacks, and what was not measured again."""
    name = namer(_results(found))
    groups: dict[str, list[str]] = {}
    for row in found.refused:
        reason = f"{row.field} is {row.before} in {row.sides[0]} and {row.after} in {row.sides[1]}"
        groups.setdefault(reason, []).append(name(row.result))
    lines = [f"Not compared, for {reason}: {', '.join(names)}." for reason, names in groups.items()]
    for side, failed, missing in zip("AB", found.failed, found.missing, strict=True):
        lines += [f"Failed in {side}: {name(row)}: {row.failure.kind}: {row.failure.reason}" for row in failed if row.failure]
        if missing:
            lines.append(f"In {side} only: {', '.join(map(name, missing))}.")
    if found.unchanged:
        lines.append(f"The same run on both sides, not measured again: {', '.join(map(name, found.unchanged))}.")
    return lines


def namer(results: Sequence[Result]) -> Name:
    """Names cells by model, precision and batch, and by whatever else is not the same in all results."""
    facts = [identity(result) for result in results]
    varying = [field for field in ("protocol", "CUDA graph", "device") if len({one[field] for one in facts}) > 1]

    def name(result: Result) -> str:
        case, about = result.case, identity(result)
        return " ".join([case.model, case.precision, f"b{case.batch}", *(about[field] for field in varying)])

    return name


def _results(found: Comparison) -> list[Result]:
    several = (*found.failed, *found.missing, *(cell.before for cell in found.cells))
    return [*(row.result for row in found.refused), *found.unchanged, *(result for side in several for result in side)]


def _row(cell: Compared, name: Name, notes: list[str]) -> tuple[Cell, ...]:
    left_out = f"{cell.left_out} disturbed runs are left out" if cell.left_out else ""
    mark = _note(f"proves nothing: {cell.doubt}" if cell.doubt else left_out, notes)
    before, after = (Cell(seconds * 1000, f"{seconds * 1000:.2f}") for seconds in cell.seconds)
    runs = f"{len(cell.before)}+{len(cell.after)}{' in turns' if cell.interleaved else ''}"
    verdict = Cell(cell.verdict, cell.verdict, mark)
    return _text(name(cell.before[0])), before, after, *_numbers(cell.ratio), _text(runs), verdict


def _numbers(ratio: Ratio) -> list[Cell]:
    return [Cell(value, f"{value:.3f}") for value in (ratio.value, ratio.low, ratio.high)]


def _text(text: str) -> Cell:
    return Cell(text, text)


def _note(text: str, notes: list[str]) -> str:
    if text and text not in notes:
        notes.append(text)
    return f"[{notes.index(text) + 1}]" if text else ""


# --- below the table ---


def _sides(found: Comparison) -> list[str]:
    """What holds for both sides, and for each what differs."""
    if not found.cells:
        return []
    sides = [run for cell in found.cells for run in cell.before], [run for cell in found.cells for run in cell.after]
    old, new = (_common([identity(run) | conditions(run) | subject(run) for run in side]) for side in sides)
    both = _listed({field: value for field, value in old.items() if new.get(field) == value})
    lines = [f"Both: {both}."]
    for side, own, other in (("A", old, new), ("B", new, old)):
        if differing := _listed({field: value for field, value in own.items() if other.get(field) != value}):
            lines.append(f"{side}: {differing}.")
    return lines


def _listed(facts: Facts) -> str:
    return "; ".join(f"{field} {value}" for field, value in facts.items() if field not in ("model", "precision", "batch"))


def _common(facts: Iterable[Facts]) -> Facts:
    """What each field is; several values are told as such."""
    found: dict[str, dict[str, None]] = {}
    for one in facts:
        for field, value in one.items():
            found.setdefault(field, {})[value] = None
    return {field: " or ".join(values) for field, values in found.items()}


def _reading(found: Comparison) -> list[str]:
    """What the verdicts mean, and what helps where there is none."""
    lines = [
        f"SAME: within {MARGIN:.0%} of each other, proven; SLOWER, FASTER: B against A, proven; UNCLEAR: none of these. "
        "From and to bound the ratio with 95 % confidence; a run is one observation, however many samples are in it."
    ]
    if any(cell.verdict == UNCLEAR for cell in found.cells):
        lines.append(
            "To know more: measure both again with bench --runs 5, which finds 5 %, or in turns, A B A B, into a folder each, "
            "and give them all: trtzoo compare A1,A2,A3 B1,B2,B3."
        )
    return lines
