"""Campaigns of hostile trials: each counts what it tried and what failed.

`make test` runs a few trials of each campaign, `make fuzz` all of them (--trials full) or a share (--trials 10%); both print
the counts, and `--reliability FILE` writes them into a page's table, each row with its date and machine; rows of campaigns that
did not run stay. `--trial INDEX` repeats one trial of each selected test.
"""

from __future__ import annotations

import json
import math
import random
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest

from trtzoo.core.errors import TrtzooError
from trtzoo.hardware.devices import cpu_device

HANG = 30
"""Seconds after which a trial counts as a hang."""
LARGE = 2 << 30
"""Bytes of memory that no process may reach because of what an input claims."""


@dataclass
class Counts:
    """What a campaign tried against one target."""

    campaign: str
    target: str
    trials: int = 0
    refused: int = 0
    """Trials that ended with a sentence for the user, a TrtzooError."""
    failures: int = 0
    longest: float = 0.0
    """Seconds of the longest trial."""
    peak: int = 0
    """Bytes of the largest process that a trial started, or by which this process grew."""
    date: str = ""
    machine: str = ""


@dataclass
class Trial:
    """One trial, as a context: an exception, `hang` seconds, or 2 GB of memory make it a failure, and the next trial goes on.

    A TrtzooError is no failure but a refusal: a sentence for the user.

    `random` is the trial's own source of random numbers, the same in each run.
    """

    index: int
    counts: Counts
    reasons: list[str]
    hang: int = HANG
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.counts.campaign} {self.counts.target} {self.index}")

    def __enter__(self) -> Trial:
        self._before, self._start = _memory(), time.monotonic()
        signal.signal(signal.SIGALRM, _hang)
        signal.setitimer(signal.ITIMER_REAL, self.hang)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        signal.setitimer(signal.ITIMER_REAL, 0)
        counts, after = self.counts, _memory()
        counts.trials += 1
        counts.longest = max(counts.longest, time.monotonic() - self._start)
        own, children = after[0] - self._before[0], after[1] if after[1] > self._before[1] else 0
        counts.peak = max(counts.peak, own, children)
        if isinstance(error, KeyboardInterrupt):
            return False
        if error is None and max(own, children) > LARGE:
            error = MemoryError(f"{max(own, children) >> 20} MB")
        if isinstance(error, TrtzooError):
            counts.refused += 1
        elif error is not None:
            counts.failures += 1
            self.reasons.append(f"trial {self.index}: " + "".join(traceback.format_exception(error)[-3:]))
        return True


def _memory() -> tuple[int, int]:
    """Peak bytes of this process, and of the largest child that has ended."""
    return tuple(resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # type: ignore[return-value]


def _hang(*_: object) -> None:
    raise TimeoutError("no end in time")


@cache
def machine() -> str:
    here = cpu_device()
    return f"{here.name}, {here.cores} cores, {here.memory >> 30} GiB"


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Iterator[Callable[..., Iterator[Trial]]]:
    """A function that yields the trials of a campaign against a target; the test fails at its end if one of them failed.

    for trial in trials("fuzz", "result files", few=100, full=20_000):
        with trial:
            read(trial.random.randbytes(100))
    """
    counted: list[Counts] = []
    reasons: list[str] = []

    def run(campaign: str, target: str, *, few: int, full: int, hang: int = HANG) -> Iterator[Trial]:
        counts = Counts(campaign, target, date=str(date.today()), machine=machine())
        counted.append(counts)
        only = request.config.getoption("--trial")
        share = request.config.getoption("--trials")
        number = few if share == "few" else full if share == "full" else math.ceil(full * float(share.rstrip("%")) / 100)
        for index in range(number) if only is None else [only]:
            yield Trial(index, counts, reasons, hang)
        if reasons:
            pytest.fail(f"{len(reasons)} trials failed\n" + "\n".join(reasons[:5]), pytrace=False)

    yield run
    for counts in counted:  # also of a test that Ctrl-C ended
        request.node.user_properties.append(("campaign", json.dumps(asdict(counts))))


BEGIN, END = "<!-- campaigns -->\n", "<!-- end of campaigns -->"
"""The table is between these lines."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hostile trials")
    group.addoption("--trials", default="few", help="How many trials each campaign runs: few, full, or a share such as 10%%.")
    group.addoption("--trial", type=int, metavar="INDEX", help="Repeat one trial of each selected test.")
    group.addoption("--reliability", type=Path, metavar="FILE", help="Write the counts into this page's table.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of all campaigns that ran; under xdist each count comes with its test's report."""
    reports = [
        report for group in terminalreporter.stats.values() for report in group if getattr(report, "when", "") == "teardown"
    ]
    counted = [Counts(**json.loads(text)) for report in reports for name, text in report.user_properties if name == "campaign"]
    found = [counts for counts in counted if counts.trials]
    if not found:
        return
    page = config.getoption("--reliability")
    before, mark, rest = page.read_text().partition(BEGIN) if page else ("", "", "")
    old, _, after = rest.partition(END)
    known = {(row.campaign, row.target): row for row in [*rows(old), *found]}
    lines = table([known[key] for key in sorted(known)])
    terminalreporter.section("hostile trials")
    for line in lines:
        terminalreporter.write_line(line)
    if mark:
        page.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


HEADS = ("Campaign", "Target", "Trials", "Refused", "Failures", "Longest trial (s)", "Largest process (MB)", "Date", "Machine")


def table(found: list[Counts]) -> list[str]:
    """The counts as lines of a Markdown table, with their sum."""
    total = Counts("all", "", *(sum(getattr(row, name) for row in found) for name in ("trials", "refused", "failures")))
    total.longest, total.peak = max(row.longest for row in found), max(row.peak for row in found)
    cells = [
        (
            row.campaign,
            row.target,
            f"{row.trials:,}",
            f"{row.refused:,}",
            f"{row.failures:,}",
            f"{row.longest:.1f}",
            f"{row.peak >> 20:,}",
            row.date,
            row.machine,
        )
        for row in [*found, total]
    ]
    return ["| " + " | ".join(row) + " |" for row in (HEADS, ("---", "---", *["---:"] * 5, "---", "---"), *cells)]


def rows(text: str) -> list[Counts]:
    """The counts in the lines of such a table, without their sum."""
    found = []
    for line in text.splitlines()[2:-1]:
        campaign, target, trials, refused, failures, longest, peak, day, machine = line.strip("| ").split(" | ")
        numbers = (int(re.sub(",", "", number)) for number in (trials, refused, failures))
        found.append(Counts(campaign, target, *numbers, float(longest), int(peak.replace(",", "")) << 20, day, machine))
    return found
