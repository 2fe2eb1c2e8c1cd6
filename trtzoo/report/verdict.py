"""Does a precision pay? The record of one, measured in turns with FP32 of the same network, and what follows from it.

A record has what was measured; the verdict is derived, so that no file can claim one that its numbers do not give.

PAYS          it is faster by more than LEAST_GAIN, and the accuracy policy holds; both are proven
DOES NOT PAY  it is proven not to be faster by that, or it breaks the accuracy policy
UNCLEAR       neither is proven; the reasons say what is missing
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.errors import StoreError
from trtzoo.core.files import read_record
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import (
    LONGEST,
    SCHEMA,
    SHORTEST,
    VERDICTS,
    Case,
    Device,
    Identity,
    Record,
    Result,
    are_not_negative,
    check,
    is_time,
    result_name,
)
from trtzoo.models.sources import SEEDED
from trtzoo.report.compare.verdicts import MARGIN, Moment, Ratio, ratio
from trtzoo.runtimes.registry import RUNTIMES
from trtzoo.verification.tolerances import (
    MIN_TOP1_KEPT,
    PairedMetrics,
    images_needed,
    judge,
    top1_kept,
    top1_kept_at_most,
)

PAYS, DOES_NOT_PAY, UNCLEAR = "PAYS", "DOES NOT PAY", "UNCLEAR"

LEAST_GAIN = MARGIN
"""The least gain of speed that pays: that by which two runs of one build may differ. Less is no reason for a second file."""

MOST_RUNS = 100  # more are not asked for: so small a difference from LEAST_GAIN is for the user to judge
SPREAD = 1000  # no two runs of one file differ by this factor


class TimedRun(Record, frozen=True, kw_only=True):
    """One run as `trtzoo compare` sees it: when it started, its reported latency, and the standard error of its logarithm."""

    started: str
    seconds: float
    error: float

    def __post_init__(self) -> None:
        check(self, started=is_time(self.started), seconds=SHORTEST <= self.seconds < LONGEST, error=0 <= self.error < 10)

    @property
    def moment(self) -> Moment:
        return Moment(math.log(self.seconds), self.error)


class Side(Record, frozen=True, kw_only=True):
    """One of the two files: its size in bytes, the memory that its results record for it (engines), and its runs."""

    precision: str
    artifact_sha256: str
    io: str
    bytes: int
    memory: int | None = None
    runs: tuple[TimedRun, ...]

    def __post_init__(self) -> None:
        seconds = [run.seconds for run in self.runs] or [0.0]
        runs = 0 < max(seconds) <= SPREAD * min(seconds)
        known = self.precision in PRECISIONS and self.io in ("", "fp32", "fp16")
        check(self, runs=runs, precision=known, **are_not_negative(self, "bytes", "memory"))


class Accuracy(Record, frozen=True, kw_only=True):
    """The precision's logits beside the reference's, on photographs of `dataset`; if that is empty, on the golden sample.

    If the policy is broken, `block` is the block to leave out: that which adds the largest error.
    """

    dataset: str = ""
    fingerprint: str = ""
    reference: str
    metrics: PairedMetrics
    block: str = ""


class Verdict(Record, frozen=True, kw_only=True):
    """One precision of a network beside FP32 of the same weights, on one device by one runtime at one batch size.

    `case` is the precision's. The runs of `before` (FP32) and `after` were made in turns, A B B A, and are compared in pairs if
    they are `interleaved`; `left_out` disturbed runs are not among them. With a `warning` the runs prove nothing.
    `selection_reason` ("choice" in JSON) says why this runtime was chosen, if the user did not name it.
    """

    schema: int = SCHEMA
    kind: Literal["verdict"] = "verdict"
    case: Case
    identity: Identity
    device: Device
    versions: dict[str, str]
    selection_reason: str = msgspec.field(name="choice", default="")
    before: Side
    after: Side
    interleaved: bool
    left_out: int = 0
    warning: str = ""
    accuracy: Accuracy
    started: str

    def __post_init__(self) -> None:
        case, runs = self.case, (len(self.before.runs), len(self.after.runs))
        known = (case.precision in PRECISIONS, case.protocol in PROTOCOLS, case.runtime in RUNTIMES)
        same = (case.precision, case.device, case.model) == (self.after.precision, self.device.key, self.identity.model)
        check(
            self,
            case=all(known) and same and case.precision != "fp32",
            before=self.before.precision == "fp32",
            interleaved=not self.interleaved or runs[0] == runs[1],
            left_out=self.left_out >= 0,
            started=is_time(self.started),
        )

    @property
    def name(self) -> str:
        """The name of its file: that of the case's result."""
        return result_name(self.case, self.identity, selected=False)

    @property
    def title(self) -> str:
        return f"{self.identity.title} {self.case.precision} batch {self.case.batch} {self.case.runtime}"

    @property
    def subject(self) -> Identity:
        """What was judged, as in other records."""
        return self.identity

    @property
    def artifact_sha256(self) -> str:
        """The precision's file."""
        return self.after.artifact_sha256

    @property
    def seeded(self) -> bool:
        """Whether only the speed means something."""
        return self.identity.weights is not None and self.identity.weights.source == SEEDED

    @property
    def ratio(self) -> Ratio:
        """The latency over FP32's, with its 95 % interval."""
        before, after = ([run.moment for run in side.runs] for side in (self.before, self.after))
        return ratio(before, after, interleaved=self.interleaved)

    @property
    def word(self) -> str:
        """PAYS, DOES NOT PAY or UNCLEAR."""
        return self.judgement.word

    @property
    def breaks_policy(self) -> bool:
        """Whether the accuracy policy is proven to be broken."""
        return _policy(self).holds is False

    @property
    def judgement(self) -> "Judgement":
        """The verdict with its reasons. A policy that is broken, or a gain that is excluded, decides alone."""
        speed, policy = _speed(self), _policy(self)
        against = [part for part in (speed, policy) if part.holds is False]
        missing = [part for part in (speed, policy) if part.holds is None]
        word = DOES_NOT_PAY if against else UNCLEAR if missing else PAYS
        reasons = tuple(part.reason for part in against or missing or (speed, policy))
        return Judgement(word, reasons)


class Judgement(msgspec.Struct, frozen=True):
    """A verdict in words, and the reasons for it, or what is missing for a clear one."""

    word: str
    reasons: tuple[str, ...]


class _Part(msgspec.Struct, frozen=True):
    """Whether a condition holds: proven (True), excluded (False), or neither (None)."""

    holds: bool | None
    reason: str


def _speed(verdict: Verdict) -> _Part:
    if verdict.warning:
        return _Part(None, f"the runs prove nothing: {verdict.warning}; measure again without that")
    found, limit = verdict.ratio, 1 / (1 + LEAST_GAIN)
    span = f"latency / FP32's is {found.value:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}"
    if found.high < limit:
        return _Part(True, f"faster: {span}")
    if found.low > limit:
        return _Part(False, f"not faster by {LEAST_GAIN:.0%}: {span}")
    runs = len(verdict.after.runs)
    half, distance = math.log(found.high / found.low) / 2, abs(math.log(found.value / limit))
    needed = runs * (half / distance) ** 2 if distance > half / MOST_RUNS else math.inf
    advice = f"about {2 * math.ceil(needed / 2)} runs decide: --runs" if needed <= MOST_RUNS else "it is about the limit"
    return _Part(None, f"{runs} runs do not show whether it is faster by {LEAST_GAIN:.0%} ({span}); {advice}")


def _policy(verdict: Verdict) -> _Part:
    """The policy of `trtzoo parity`, except that classes are judged for every precision by their confidence limits."""
    accuracy, case = verdict.accuracy, verdict.case
    metrics, leave_out = accuracy.metrics, f"; leave out {accuracy.block}" if accuracy.block else ""
    if broken := judge(case.precision, case.runtime, metrics, classes_count=False):
        return _Part(False, f"{'; '.join(broken)}{leave_out}")
    if verdict.seeded:
        return _Part(True, "seeded weights have no accuracy: this is about the speed only")
    if not accuracy.dataset:
        return _Part(None, "accuracy not measured: add --data DIR")
    low, high, images = top1_kept(metrics), top1_kept_at_most(metrics), metrics.images
    _, lost, won = metrics.outcome
    counts = f"{images} images: {lost} lost, {won} won"
    if low >= MIN_TOP1_KEPT:
        return _Part(True, f"at least {low:.2%} of FP32's top-1 is kept ({counts})")
    if high < MIN_TOP1_KEPT:
        return _Part(
            False, f"at most {high:.2%} of FP32's top-1 is kept, and {MIN_TOP1_KEPT:.0%} is allowed ({counts}){leave_out}"
        )
    needed = images_needed(metrics)
    advice = f"about {needed} images like these decide: --data" if needed else "more images like these decide nothing"
    proven = f"{images} images ({lost} lost, {won} won) prove only that {low:.2%} of FP32's top-1 is kept"
    return _Part(None, f"{proven}, and {MIN_TOP1_KEPT:.0%} is needed; {advice}")


def load_verdicts(results: Path) -> tuple[list[Verdict], list[str]]:
    """All verdicts in results/<device>/verdicts/, and a sentence for each file that is not one."""
    found, complaints = [], []
    for path in sorted(results.glob(f"*/{VERDICTS}/*.json")):
        try:
            found.append(read_record(path, Verdict))
        except (StoreError, OSError) as error:
            complaints.append(str(error))
    return found, complaints


def verdict_of(result: Result, verdicts: Iterable[Verdict]) -> Verdict | None:
    """The newest verdict on what a result measured: the same case, file and versions."""
    about = (result.case, result.artifact_sha256, result.versions)
    same = [each for each in verdicts if (each.case, each.artifact_sha256, each.versions) == about]
    return max(same, key=lambda each: each.started, default=None)


def verdict_text(verdict: Verdict | None) -> str:
    """The verdict in a cell; that on seeded weights is marked."""
    return "" if verdict is None else f"{verdict.word} (speed only)" if verdict.seeded else verdict.word
