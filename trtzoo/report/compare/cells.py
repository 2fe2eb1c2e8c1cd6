"""Compare A and B cell by cell: what compares, what does not and in which field it differs, and what is missing."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import compress
from statistics import fmean, median

import msgspec
import numpy as np

from trtzoo.benchmark.protocols import PROTOCOLS, STATISTICS, metric_seconds
from trtzoo.benchmark.warnings import LOCK, POWER_CAP, symptoms
from trtzoo.core.records import GpuState, Result
from trtzoo.report.compare.verdicts import UNCLEAR, Moment, Ratio, moment, ratio
from trtzoo.report.results import gpu_settings_facts, weights_text

Facts = dict[str, str]
Runs = Sequence[Result]
Cells = dict[tuple[tuple[str, str], ...], Runs]

DISTURBED = ("load", "shared", "hot", "slowed", "capped", "clocks", "trend")
"""A run with one of these warnings is left out if there are undisturbed runs; otherwise the cell proves nothing.

A power cap that both sides have is a condition instead, and so is what it does to the clock: both sides' clocks are compared.
"""

CLOCKS = {"sm_clock": "SM clock", "memory_clock": "memory clock"}
CLOCK_LIMIT = 0.05  # if the clocks of both sides differ by more, a difference of latencies proves nothing about the builds

BUILDER_OPTIONS = "builder options"  # the setting with the options that an engine was built with
UNTIMED = ("kernel cache", "persistence mode", "compute mode")  # settings that do not change a running network's latency

NEAR = 60.0  # interleaved runs start at most this many seconds after the end of their neighbour

NUMPY: dict[str, Callable[..., float]] = {"median": np.median, "mean": np.mean}
"""The same as STATISTICS, but faster: the bootstrap calls them a hundred times."""


class ComparedCell(msgspec.Struct, frozen=True):
    """The runs of both sides that count, and their ratio. With a `warning` the cell proves nothing and is UNCLEAR."""

    before: tuple[Result, ...]
    after: tuple[Result, ...]
    seconds: tuple[float, float] | None
    ratio: Ratio
    interleaved: bool
    left_out: int = 0
    warning: str = ""

    @property
    def verdict(self) -> str:
        return UNCLEAR if self.warning else self.ratio.verdict

    def slower_than(self, share: float) -> bool:
        """Return whether a slowdown of more than `share` (0.03 is 3 %) is proven."""
        return not self.warning and self.ratio.low > 1 + share


class Refusal(msgspec.Struct, frozen=True):
    """A cell of A that does not compare with B's, or with another run of its side: the field and its two values."""

    result: Result
    field: str
    before: str
    after: str
    sides: tuple[str, str] = ("A", "B")


class Comparison(msgspec.Struct, frozen=True):
    """All cells. `missing` and `failed` list each side's own, A first; `unchanged` have the same run on both sides."""

    cells: list[ComparedCell]
    refused: list[Refusal]
    missing: tuple[Runs, Runs]
    failed: tuple[Runs, Runs]
    unchanged: Runs

    @property
    def broken(self) -> bool:
        """Whether a case that succeeded in A failed in B."""
        good = {old.case.name for old in (*self.missing[0], *(run for cell in self.cells for run in cell.before))}
        return any(new.case.name in good for new in self.failed[1])


def compare(before: Runs, after: Runs) -> Comparison:
    """Compare every cell of A with its cell of B. Several results of one cell on one side are repeated runs."""
    pairs, refused, missing = _match(_cells(before), _cells(after))
    cells, unchanged = [], []
    for old, new in pairs:
        if difference := _difference(old, new):
            refused.append(difference)
        elif any((a.started, a.samples) == (b.started, b.samples) for a in old for b in new):
            unchanged.append(old[0])
        else:
            cells.append(compared(old, new))
    failed = ([run for run in before if run.failure], [run for run in after if run.failure])
    return Comparison(cells, refused, missing, failed, unchanged)


# --- matching ---


def identity(result: Result) -> Facts:
    """Return the fields that identify a cell; the runtime is the last."""
    case, device = result.case, result.device
    return {
        "model": case.model,
        **({"form": case.form} if case.form else {}),
        "precision": case.precision,
        "batch": str(case.batch),
        "protocol": case.protocol,
        "CUDA graph": {None: "none", True: "on", False: "off"}[case.cuda_graph],
        **({"threads asked for": str(case.threads)} if case.threads else {}),
        **({} if case.cuda_graph is None else {"L2 cache": "flushed" if case.flush_l2 else "not flushed"}),
        "device": f"{device.name}, {device.cores} cores" if device.cores else device.title,
        "runtime": case.runtime,
    }


def conditions(result: Result) -> Facts:
    """Return the further fields that must be equal on both sides, if both sides know them; those of UNTIMED are only shown."""
    known = {"input and output": result.io, "threads": str(result.threads or ""), **result.settings}
    known["cuda graph"] = known.get("cuda graph", "").partition(":")[0]  # without the reason for "off"
    known |= gpu_settings_facts(result.gpu_settings)
    return {name: value for name, value in known.items() if value and name != BUILDER_OPTIONS}


def subject(result: Result) -> Facts:
    """Return what a comparison may be about: differences are shown."""
    some = {"GPU": result.device.uuid, BUILDER_OPTIONS: result.settings.get(BUILDER_OPTIONS, "")}
    return {name: value for name, value in some.items() if value} | {
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items())) or "unknown",
        "driver": result.device.driver or "none",
        "weights": weights_text(result.weights) if result.weights else result.subject.tag or "unknown",
        "outputs": "checked" if result.check else "NOT CHECKED",
    }


def _cells(results: Runs) -> Cells:
    """Return the good runs by cell and runtime, in the order in which they were measured."""
    found: defaultdict[tuple[tuple[str, str], ...], list[Result]] = defaultdict(list)
    for result in sorted((run for run in results if not run.failure), key=lambda run: run.started):
        found[tuple(identity(result).items())].append(result)
    return dict(found)


def _match(before: Cells, after: Cells) -> tuple[list[tuple[Runs, Runs]], list[Refusal], tuple[Runs, Runs]]:
    """Return the cells to compare, those that differ from their nearest one in a field, and each side's that have none.

    A runtime is paired with itself. If one runtime of a cell is left on each side, those two are paired. Near are cells of
    one model and batch, or any two if each side has one cell, which are then meant to be compared.
    """
    single = len(before) == len(after) == 1
    pairs = [(before.pop(key), after.pop(key)) for key in list(before) if key in after]
    for key in list(before):
        here, there = ([other for other in side if other[:-1] == key[:-1]] for side in (before, after))
        if len(here) == len(there) == 1:
            pairs.append((before.pop(key), after.pop(there[0])))
    alone, rest = ([runs[0] for runs in side.values()] for side in (before, after))
    refused, partners = [], []
    for old in list(alone):
        others = [new for new in rest if single or (new.case.model, new.case.batch) == (old.case.model, old.case.batch)]
        if others:
            difference, new = min(((_apart(old, new), new) for new in others), key=lambda pair: len(pair[0]))
            refused.append(Refusal(old, *difference[0]))
            alone.remove(old)
            partners.append(new)
    return pairs, refused, (alone, [new for new in rest if new not in partners])


def _apart(old: Result, new: Result) -> list[tuple[str, str, str]]:
    """Return the fields of two cells that differ, at least one: name, old value and new value; "none" is a missing one."""
    mine, theirs = identity(old), identity(new)
    both = ((name, mine.get(name, "none"), theirs.get(name, "none")) for name in mine | theirs)
    return [(name, here, there) for name, here, there in both if here != there]


def _differing(facts: Callable[[Result], Facts], old: Result, new: Result) -> list[tuple[str, str, str]]:
    """Return the fields that both have with different values: name, old value and new value."""
    mine, theirs = facts(old), facts(new)
    return [(name, mine[name], theirs[name]) for name in mine if name in theirs and mine[name] != theirs[name]]


def _difference(old: Runs, new: Runs) -> Refusal | None:
    """Return the first field in which a cell's runs do not compare. Runs of one side must be of one build, too."""
    checks = [
        (subject, side[0], run, (name, f"another run of {name}")) for name, side in (("A", old), ("B", new)) for run in side
    ]
    checks += [(conditions, old[0], run, ("A", "B")) for run in (*old, *new)]
    for facts, first, run, sides in checks:
        for name, here, there in _differing(facts, first, run):
            if name not in UNTIMED:
                return Refusal(old[0], name, here, there, sides)
    return None


# --- one cell ---


def compared(old: Runs, new: Runs, *, same_work: bool = True) -> ComparedCell:
    """Compare a cell's undisturbed runs, or all its runs if one side has no undisturbed run.

    Of interleaved runs, a pair counts if both its runs are undisturbed. Without `same_work`, as in two precisions, a power cap
    and its clock are an effect of what is compared, and no disturbance.
    """
    paired, warning = interleaved(old, new), ""
    capped = "".join(name for name, side in zip("AB", (old, new), strict=True) if any(map(power_capped, side)))
    capped = capped if same_work else "AB"
    sound = [[not _disturbance(run, capped) for run in side] for side in (old, new)]
    if paired:
        sound = [[all(pair) for pair in zip(*sound, strict=True)]] * 2
    before, after = (tuple(compress(side, good)) for side, good in zip((old, new), sound, strict=True))
    if not before or not after:
        before, after, warning = tuple(old), tuple(new), next(filter(None, (_disturbance(run, capped) for run in (*old, *new))))
    moments = [[run_moment(run) for run in side] for side in (before, after)]
    seconds = [math.exp(fmean(run.level for run in side)) for side in moments]
    left_out = len(old) + len(new) - len(before) - len(after)
    found = ratio(*moments, interleaved=paired)
    warning = warning or (_other_clock(before, after) if same_work else "")
    return ComparedCell(before, after, (seconds[0], seconds[1]), found, paired, left_out, warning)


def interleaved(old: Runs, new: Runs) -> bool:
    """Return whether runs were measured A B A B or A B B A: each run of A at most NEAR seconds from its run of B."""
    try:
        times = [sorted(map(_time, pair)) for pair in zip(old, new, strict=True)]
    except ValueError:  # one side has more runs, or the time of a run is unknown
        return False
    starts = [start for pair in times for start, _ in pair]
    return starts == sorted(starts) and all(second - end <= NEAR for (_, end), (second, _) in times)


def _time(run: Result) -> tuple[float, float]:
    """Return the start and the approximate end of a run. Raises ValueError if they are unknown."""
    start = datetime.fromisoformat(run.started).timestamp()
    return start, start + run.load + sum(sample.total for sample in run.samples)


def power_capped(run: Result) -> bool:
    """Return whether the power cap held the GPU's clock down in any reading."""
    return POWER_CAP in (run.gpu_state or GpuState()).reasons


def _disturbance(run: Result, capped: str) -> str:
    """Describe what disturbed a run. `capped` names the sides with power-capped runs: "", "A", "B" or "AB"."""
    found = {name: clause for name, clause in symptoms(run) if name in DISTURBED}
    if "capped" in found and capped != "AB":
        found["capped"] += f", in {capped} only"
    elif "capped" in found:
        effects = ("capped", "clocks", "trend") if "clocks" in found else ("capped",)
        found = {name: clause for name, clause in found.items() if name not in effects}
    return next(iter(found.values()), "")


def median_clock(runs: Runs, name: str) -> float | None:
    """Return the median of the runs' median clocks in Hz; `name` is a field of GpuState. None if no run knows it."""
    spans = [getattr(run.gpu_state, name) for run in runs if run.gpu_state]
    known = [span.median for span in spans if span]
    return median(known) if known else None


def _other_clock(before: Runs, after: Runs) -> str:
    """Describe a clock that differs between the sides by more than CLOCK_LIMIT; empty if none does."""
    for name, title in CLOCKS.items():
        old, new = median_clock(before, name), median_clock(after, name)
        if old and new and max(old, new) > (1 + CLOCK_LIMIT) * min(old, new):
            apart = f"{old / 1e6:.0f} MHz in A and {new / 1e6:.0f} MHz in B (limit {CLOCK_LIMIT:.0%} apart)"
            return f"the {title} was {apart}: {LOCK}"
    return ""


def run_moment(run: Result) -> Moment:
    """Reduce a run to the statistic that its protocol reports."""
    name = PROTOCOLS[run.case.protocol].statistic
    return moment(metric_seconds(run), NUMPY.get(name) or (lambda values: STATISTICS[name].value(values.tolist())))
