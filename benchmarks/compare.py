"""How often `trtzoo compare` is wrong and how often it finds a slowdown, on real runs of one build and of a slower one.

A round is a run of `trtzoo bench` and a run of the same command whose session spins after each query until it has taken 5 %
longer. Each case has its own process, and every second round runs in reverse order. New rounds are added to those in FOLDER.
Usage: python benchmarks/compare.py FOLDER [--rounds N] [--seconds S]   (writes benchmarks/figures/compare.md)
"""

import argparse
import itertools
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Literal

import msgspec
from figures import write

from trtzoo.benchmark import worker
from trtzoo.benchmark.protocols import reported_latency
from trtzoo.benchmark.sweep import bench_jobs, cases
from trtzoo.core.files import write_record
from trtzoo.core.records import Result, Sample
from trtzoo.core.subprocesses import run_child
from trtzoo.hardware.devices import cpu_device
from trtzoo.report.compare.cells import compare, interleaved
from trtzoo.report.compare.sides import read_side
from trtzoo.runtimes import onnxruntime
from trtzoo.runtimes.registry import RUNTIMES

MODELS = ("dpn68", "densenet121")
RUNTIME = "onnxruntime"
SLOWER = 1.05
TRIALS = 100


class Slowed(onnxruntime.Session):
    """ONNX Runtime that spins after each query until it has taken SLOWER times as long."""

    def sample(self) -> Sample:
        taken = super().sample().total
        until = time.perf_counter() + (SLOWER - 1) * taken
        while time.perf_counter() < until:
            pass
        return Sample(total=SLOWER * taken, compute=SLOWER * taken)


def slowed_child() -> None:
    """Run trtzoo.benchmark.worker with the slowed session."""
    row = RUNTIMES["onnxruntime"]
    RUNTIMES["onnxruntime"] = msgspec.structs.replace(row, opener="__main__:Slowed")
    worker.main()


def plain(folder: Path, onnx: Path, seconds: float) -> None:
    """Run all cases once with `trtzoo bench`."""
    where = ["--onnx-dir", onnx, "--results", folder, "--seconds", seconds]
    words = ["bench", *MODELS, "--gpu", "cpu", "--runtime", RUNTIME, "--batch", 1, *where]
    subprocess.run([sys.executable, "-m", "trtzoo.cli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def slowed(folder: Path, onnx: Path, seconds: float) -> None:
    """Run the same cases with the slowed session."""
    here = cpu_device()
    which = {"model": MODELS, "precision": ["fp32"], "batch": [1], "protocol": ["trtzoo"]}
    for job in bench_jobs(cases(**which, runtime=RUNTIME, device=here.key), here, onnx, seconds=seconds):
        result = run_child([sys.executable, __file__, "--child"], job, answer=Result)
        write_record(folder / here.key / f"{job.case.name}.json", result)


BUILDS = {"plain": plain, "slowed": slowed}


def collect(folder: Path, rounds: int, seconds: float) -> None:
    """Add rounds; their numbers continue those in the folder."""
    first = len(list((folder / "plain").glob("*")))
    for turn in range(first, first + rounds):
        for name in list(BUILDS)[:: 1 if turn % 2 == 0 else -1]:
            BUILDS[name](folder / name / f"{turn:03}", folder / "onnx", seconds)


# --- the verdicts of compare ---


class Design(msgspec.Struct, frozen=True):
    """The number of runs per side, and their order: drawn at random, consecutive per side (`bench --runs`), or interleaved."""

    runs: int
    way: Literal["apart", "consecutive", "interleaved"]

    @property
    def title(self) -> str:
        return f"{self.runs} {'run' if self.runs == 1 else 'runs'} per side, {self.way}"


DESIGNS = (
    *(Design(runs, "apart") for runs in (1, 3, 5)),
    *(Design(runs, "consecutive") for runs in (3, 5)),
    *(Design(runs, "interleaved") for runs in (1, 3, 5)),
)
Runs = list[Result]
Sides = tuple[Runs, Runs]


def same_build(runs: Runs, design: Design, random: Random) -> Iterator[Sides]:
    """Pairs of measurements of one build."""
    if design.way == "interleaved":
        yield from in_pairs(
            [pair for pair in itertools.pairwise(runs) if interleaved(*([run] for run in pair))], design, random
        )
    else:
        yield from drawn(list(zip(runs, runs, strict=True)), design, random)


def two_builds(plain: Runs, slowed: Runs, design: Design, random: Random) -> Iterator[Sides]:
    """Pairs of measurements, one of each build. Unless they are interleaved, the two share no round."""
    rounds = list(zip(plain, slowed, strict=True))
    if design.way == "interleaved":
        yield from in_pairs([pair for pair in rounds if interleaved(*([run] for run in pair))], design, random)
    else:
        yield from drawn(rounds, design, random)


def drawn(rounds: list[tuple[Result, Result]], design: Design, random: Random) -> Iterator[Sides]:
    """The first build of some rounds and the second of others, drawn at random or consecutive, in either order."""
    count = design.runs
    for trial in range(TRIALS):
        begin = random.randrange(len(rounds) - 2 * count + 1)
        some = random.sample(rounds, 2 * count) if design.way == "apart" else rounds[begin : begin + 2 * count]
        first, second = (some[:count], some[count:]) if trial % 2 else (some[count:], some[:count])
        yield [old for old, _ in first], [new for _, new in second]


def in_pairs(pairs: list[tuple[Result, Result]], design: Design, random: Random) -> Iterator[Sides]:
    """Random pairs, as many as the design needs, of which no two share a run."""
    for _ in range(TRIALS):
        drawn: dict[str, tuple[Result, Result]] = {}
        for pair in random.sample(pairs, len(pairs)):
            if len(drawn) < 2 * design.runs and not any(run.started in drawn for run in pair):
                drawn |= {run.started: pair for run in pair}
        chosen = sorted({id(pair): pair for pair in drawn.values()}.values(), key=lambda pair: pair[0].started)
        if len(chosen) == design.runs:
            yield [first for first, _ in chosen], [second for _, second in chosen]


def verdicts(sides: Iterable[Sides], design: Design) -> Counter[str]:
    """Count each verdict, and how often a gate of 3 % fails. Runs that are neighbours by chance are left out."""
    counts: Counter[str] = Counter()
    for old, new in sides:
        (cell,) = compare(old, new).cells
        if cell.interleaved != (design.way == "interleaved"):
            continue
        counts.update([cell.verdict, *(["gate"] if cell.slower_than(0.03) else []), "all"])
    return counts


def evaluate(folder: Path) -> list[list[str]]:
    """One row of the figure for each design, over all networks."""
    builds = {name: [runs(folder / name, model) for model in MODELS] for name in BUILDS}
    rows = []
    for design in DESIGNS:
        random = Random(0)
        same, scaled, spun = Counter[str](), Counter[str](), Counter[str]()
        for plain, slowed in zip(*builds.values(), strict=True):
            for one in (plain, slowed):
                drawn = list(same_build(one, design, random))
                same += verdicts(drawn, design)
                scaled += verdicts(((old, list(map(slower, new))) for old, new in drawn), design)
            spun += verdicts(two_builds(plain, slowed, design, random), design)
        parts = [(same["SLOWER"] + same["FASTER"], same), (same["SAME"], same), (same["gate"], same)]
        for counts in (scaled, spun):
            parts += [(counts["SLOWER"], counts), (counts["SAME"] + counts["FASTER"], counts), (counts["gate"], counts)]
        rows.append([design.title, *(f"{count / counts['all']:.1%}" if counts["all"] else "—" for count, counts in parts)])
    return rows


def slower(run: Result) -> Result:
    """The run with each sample multiplied by SLOWER."""
    samples = [msgspec.structs.replace(sample, total=SLOWER * sample.total) for sample in run.samples]
    return msgspec.structs.replace(run, samples=tuple(samples))


def runs(folder: Path, model: str) -> Runs:
    """A build's runs of one network, oldest first."""
    found, _ = read_side(",".join(map(str, sorted(folder.iterdir()))))
    return sorted((run for run in found if run.case.model == model), key=lambda run: run.started)


HEADS = [
    *("", "same build: wrong", "SAME", "gate"),
    *("scaled by 1.05: SLOWER", "wrong", "gate"),
    *("spinning 5 % longer: SLOWER", "wrong", "gate"),
]


def notes(folder: Path) -> list[str]:
    """What was measured, and the scatter between runs of one build."""
    builds = [[runs(folder / name, model) for name in BUILDS] for model in MODELS]
    apart = [stdev([math.log(reported_latency(run)) for run in one]) for both in builds for one in both]
    turns = [
        stdev([math.log(reported_latency(new) / reported_latency(old)) for old, new in zip(*both, strict=True)])
        for both in builds
    ]
    count, seconds = len(builds[0][0]), sum(sample.total for sample in builds[0][0][0].samples)
    spun = [fmean(reported_latency(new) / reported_latency(old) for old, new in zip(*both, strict=True)) - 1 for both in builds]
    return [
        f"{count} rounds of {' and '.join(MODELS)}, FP32, batch 1, {seconds:.0f} s per run, one process per case. A row has "
        f"{TRIALS} draws of runs for each network and build; all other verdicts are UNCLEAR. Wrong is FASTER or SLOWER for the "
        "same build, and SAME or FASTER for a slower one. The gate is 3 %. Scaled: the samples of a run times 1.05. "
        "Spinning: the session waits after each query, which made the runs slower by "
        f"{' and '.join(f'{share:.1%}' for share in spun)}. Runs of one build have a standard deviation of "
        f"{min(apart):.1%} to {max(apart):.1%}, ratios of neighbours one of {min(turns):.1%} to {max(turns):.1%}.",
    ]


def main() -> None:
    if "--child" in sys.argv:
        slowed_child()
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    collect(options.folder, options.rounds, options.seconds)
    rows = evaluate(options.folder)
    write("compare", HEADS, rows, notes(options.folder))


if __name__ == "__main__":
    main()
