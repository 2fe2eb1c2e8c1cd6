"""A and B, cell by cell: what compares, what does not and by which field, and what is missing."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import fmean

import msgspec
import numpy as np

from trtzoo.benchmark.protocols import PROTOCOLS, STATISTICS
from trtzoo.benchmark.warnings import WARNINGS
from trtzoo.core.records import Result
from trtzoo.report.compare.verdicts import UNCLEAR, Moment, Ratio, moment, ratio
from trtzoo.report.results import metric_seconds

Facts = dict[str, str]
Key = tuple[str, ...]

DISTURBED = ("load", "shared", "hot", "capped", "clocks", "trend")
"""Flags of noise.py under which a run is left out while there are others, and proves nothing alone."""

NEAR = 60.0
"""Seconds from the end of one run to the start of the next that still make them neighbours."""

NUMPY: dict[str, Callable[..., float]] = {"median": np.median, "mean": np.mean}
"""The same as STATISTICS, faster: the bootstrap takes them a hundred times."""


class ComparedCell(msgspec.Struct, frozen=True):
    """What compares: both sides' runs that count, and their ratio. `doubt` says why it proves nothing; then it is UNCLEAR."""

    before: tuple[Result, ...]
    after: tuple[Result, ...]
    seconds: tuple[float, float]
    ratio: Ratio
    interleaved: bool
    left_out: int = 0
    doubt: str = ""

    @property
    def verdict(self) -> str:
        return UNCLEAR if self.doubt else self.ratio.verdict

    def slower_than(self, share: float) -> bool:
        return not self.doubt and self.ratio.slower_than(share)


class Refusal(msgspec.Struct, frozen=True):
    """A cell of A that does not compare with B's, or with another of its own runs: the field and its two values."""

    result: Result
    field: str
    before: str
    after: str
    sides: tuple[str, str] = ("A", "B")


class Comparison(msgspec.Struct, frozen=True):
    """All cells of both sides; `missing` and `failed` are those of one side, A first; `unchanged` are of one run on both."""

    cells: tuple[ComparedCell, ...]
    refused: tuple[Refusal, ...]
    missing: tuple[tuple[Result, ...], tuple[Result, ...]]
    failed: tuple[tuple[Result, ...], tuple[Result, ...]]
    unchanged: tuple[Result, ...]

    @property
    def broken(self) -> bool:
        """Whether a cell that A has failed in B."""
        whole = [*self.missing[0], *(row for cell in self.cells for row in cell.before)]
        return any(old.case == new.case for old in whole for new in self.failed[1])


def compare(before: Sequence[Result], after: Sequence[Result]) -> Comparison:
    """Every cell of A with its cell of B; several results of one cell on one side are repeated runs."""
    sides = [_cells([result for result in side if not result.failure]) for side in (before, after)]
    pairs, alone = _matched(*sides)
    refused, missing = _near_misses(*alone, single=all(len(side) == 1 for side in sides))
    cells, unchanged = [], []
    for old, new in pairs:
        if difference := _difference(old, new):
            refused.append(difference)
        elif any(_same_run(a, b) for a in old for b in new):
            unchanged.append(old[0])
        else:
            cells.append(_compared(old, new))
    failed = [tuple(result for result in side if result.failure) for side in (before, after)]
    return Comparison(tuple(cells), tuple(refused), missing, (failed[0], failed[1]), tuple(unchanged))


# --- which belongs to which ---


def identity(result: Result) -> Facts:
    """What makes a cell: results that differ in one of these are of different cells."""
    case, device = result.case, result.device
    return {
        "model": case.model,
        "precision": case.precision,
        "batch": str(case.batch),
        "protocol": case.protocol,
        "CUDA graph": {None: "none", True: "on", False: "off"}[case.cuda_graph],
        "device": f"{device.name}, {device.cores} cores" if device.cores else device.name,
    }


def conditions(result: Result) -> Facts:
    """What must be alike on both sides of a cell beyond that, where both know it."""
    known = {"input and output": result.io, "threads": str(result.threads or ""), **result.settings}
    return {name: value for name, value in known.items() if value and name != "kernel cache"}


def subject(result: Result) -> Facts:
    """What a comparison may be about: it is shown where it differs."""
    return {
        "runtime": result.case.runtime,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items())) or "unknown",
        "driver": result.device.driver or "none",
        "weights": result.weights.source if result.weights else "unknown",
        "outputs": "checked" if result.check else "NOT CHECKED",
    }


def _cells(results: list[Result]) -> dict[Key, list[Result]]:
    """Runs by cell and runtime, each cell's in the order they were taken."""
    found: dict[Key, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.started):
        found.setdefault((*identity(result).values(), result.case.runtime), []).append(result)
    return found


Runs = list[Result]


def _matched(before: dict[Key, Runs], after: dict[Key, Runs]) -> tuple[list[tuple[Runs, Runs]], list[list[Result]]]:
    """The runs of cells that both sides have, and one result of each cell that is left on either side.

    Runtimes are paired with themselves; where one is left on either side of a cell, those two are compared.
    """
    pairs = [(runs, after[key]) for key, runs in before.items() if key in after]
    left = [{key: runs for key, runs in side.items() if key not in other} for side, other in ((before, after), (after, before))]
    for key in list(left[0]):
        here, there = ([other for other in side if other[:-1] == key[:-1]] for side in left)
        if len(here) == len(there) == 1:
            pairs.append((left[0].pop(key), left[1].pop(there[0])))
    return pairs, [[runs[0] for runs in side.values()] for side in left]


def _near_misses(
    before: Runs, after: Runs, *, single: bool
) -> tuple[list[Refusal], tuple[tuple[Result, ...], tuple[Result, ...]]]:
    """Of what is left: pairs that would be one cell but for a field, and on either side what has no such other.

    Where either side is a `single` cell, the two are meant to compare, whatever they are.
    """
    refused, alone = [], []
    rest = list(after)
    for old in before:
        others = [new for new in after if single or (new.case.model, new.case.batch) == (old.case.model, old.case.batch)]
        if not others:
            alone.append(old)
            continue
        new = min(others, key=lambda other: len(_differing(_about(old), _about(other))))
        field = _differing(_about(old), _about(new))[0]
        refused.append(Refusal(old, field, _about(old)[field], _about(new)[field]))
        rest = [other for other in rest if other is not new]
    return refused, (tuple(alone), tuple(rest))


def _about(result: Result) -> Facts:
    return identity(result) | {"runtime": result.case.runtime}


def _differing(old: Facts, new: Facts) -> list[str]:
    return [name for name in old if name in new and old[name] != new[name]]


def _difference(old: Runs, new: Runs) -> Refusal | None:
    """The first field in which the runs of a cell do not compare; runs of one side must be of one build, too."""
    for side, runs in (("A", old), ("B", new)):
        for run in runs:
            for field in _differing(subject(runs[0]), subject(run)):
                sides = (side, f"another run of {side}")
                return Refusal(old[0], field, subject(runs[0])[field], subject(run)[field], sides)
    for run in (*old, *new):
        for field in _differing(conditions(old[0]), conditions(run)):
            return Refusal(old[0], field, conditions(old[0])[field], conditions(run)[field])
    return None


def _same_run(old: Result, new: Result) -> bool:
    return (old.started, old.samples) == (new.started, new.samples)


# --- one cell ---


def _compared(old: Runs, new: Runs) -> ComparedCell:
    """The cell's ratio, from its undisturbed runs where there are any on both sides."""
    turns = interleaved(old, new)
    kept = _undisturbed(old, new, turns)
    doubt = "" if all(kept) else next(filter(None, map(_disturbance, (*old, *new))))
    before, after = kept if all(kept) else (old, new)
    moments = [[_moment(run) for run in side] for side in (before, after)]
    seconds = [math.exp(fmean(run.level for run in side)) for side in moments]
    left_out = len(old) + len(new) - len(before) - len(after)
    found = ratio(*moments, interleaved=turns)
    return ComparedCell(tuple(before), tuple(after), (seconds[0], seconds[1]), found, turns, left_out, doubt)


def _undisturbed(old: Runs, new: Runs, turns: bool) -> tuple[Runs, Runs]:
    """The runs that nothing disturbed; of runs in turns the pairs."""
    if not turns:
        return [run for run in old if not _disturbance(run)], [run for run in new if not _disturbance(run)]
    pairs = [pair for pair in zip(old, new, strict=True) if not any(map(_disturbance, pair))]
    return [first for first, _ in pairs], [second for _, second in pairs]


def interleaved(old: Sequence[Result], new: Sequence[Result]) -> bool:
    """Whether runs were taken A B A B, or A B B A: each of A beside its own of B, no longer than NEAR apart."""
    if len(old) != len(new):
        return False
    times = [sorted(_time(run) for run in pair) for pair in zip(old, new, strict=True)]
    starts = [start for pair in times for start, _ in pair]
    return starts == sorted(starts) and all(pair[0][0] > 0 and pair[1][0] - pair[0][1] <= NEAR for pair in times)


def _time(run: Result) -> tuple[float, float]:
    """When it started and, nearly, when it ended; 0 where that is not known."""
    try:
        start = datetime.fromisoformat(run.started).timestamp()
    except ValueError:
        return 0.0, 0.0
    return start, start + run.load + sum(sample.total for sample in run.samples)


def _disturbance(run: Result) -> str:
    return next((symptom for flag in WARNINGS if flag.name in DISTURBED and (symptom := flag.symptom(run))), "")


def _moment(run: Result) -> Moment:
    row = PROTOCOLS[run.case.protocol]
    return moment(metric_seconds(run), NUMPY.get(row.statistic) or (lambda values: STATISTICS[row.statistic](values.tolist())))
