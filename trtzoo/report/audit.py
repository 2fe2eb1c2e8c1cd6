"""The audit: what can be said of the published tables by themselves. CHECKS, one function each, give findings with evidence.

Nothing measured here is used: exact counts, the publisher's counter and later page, and the peaks of the two GPUs are enough.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import Literal

import msgspec

from trtzoo.models.table import MODELS, Count, Model
from trtzoo.report.published import document
from trtzoo.report.roofline import Limit, limit_of_published

Verdict = Literal["wrong", "doubtful", "holds"]

COUNTED = {
    "densenet121": Count(7_977_857, 5_685_476_608),
    "densenet161": Count(28_680_001, 15_486_842_112),
    "densenet169": Count(14_148_481, 6_739_581_184),
    "densenet201": Count(20_012_929, 8_608_103_168),
    "densenet264": Count(33_336_705, 11_537_268_736),
    "dpn68": Count(10_781_227, 4_030_915_008),
    "dpn92": Count(36_291_041, 12_535_693_184),
    "dpn98": Count(58_465_089, 22_215_270_784),
    "dpn107": Count(82_971_201, 35_059_119_424),
    "dpn131": Count(75_359_745, 30_513_728_896),
}
"""What the publisher's counter of 2019 gives (models/count.py, "paddle2019"); a test counts each again."""

COLUMNS = (("v100", "fp32", 1), *(("t4", precision, batch) for precision in ("fp32", "fp16") for batch in (1, 4, 8)))
"""The columns of latencies: GPU, precision, batch."""


class Finding(msgspec.Struct, frozen=True):
    """`claim` is a sentence about `subject`, `evidence` the numbers it rests on."""

    check: str
    verdict: Verdict
    subject: str
    claim: str
    evidence: str


def findings() -> list[Finding]:
    """All findings, what is wrong before what is doubtful before what holds; within these in the checks' order."""
    order = ("wrong", "doubtful", "holds")
    return sorted((row for check in CHECKS for row in check()), key=lambda row: order.index(row.verdict))


# --- counts ---

CLOSE = 0.005
"""Of the exact count: what lies within is told once for all."""


def counts() -> Iterator[Finding]:
    """FLOPs and parameters against the exact counts and the publisher's own counter."""
    right: list[float] = []
    for name, row in document().models.items():
        model, theirs = MODELS[name], COUNTED[name]
        flops = ("FLOPs", "G", row.gflops, model.flops / 1e9, theirs.flops / 1e9, 2 * document().later[name].gmacs)
        params = ("parameters", "M", row.mparams, model.params / 1e6, theirs.params / 1e6, document().later[name].mparams)
        for what, unit, printed, exact, counter, later in (flops, params):
            if round(counter, 2) != printed:
                claim = f"{printed:.2f} {unit} {what} is neither the exact count nor the publisher's counter's: a slip."
                yield Finding(
                    "counts", "wrong", name, claim, f"exact {exact:.2f} {unit}; that counter gives {counter:.2f} {unit}"
                )
            if abs(printed / exact - 1) <= CLOSE:
                right.append(abs(printed / exact - 1))
                continue
            claim = f"{printed:.2f} {unit} {what} is {printed / exact - 1:+.1%} off the exact count."
            evidence = f"exact {exact:.2f} {unit}; the counter of 2019 gives {counter:.2f}, the publisher's of 2021 {later:.2f}"
            yield Finding("counts", "wrong", name, claim, evidence)
    claim = f"{len(right)} of {2 * len(document().models)} counts are within {CLOSE:.1%} of the exact ones."
    yield Finding("counts", "holds", "all networks", claim, f"the farthest by {max(right, default=0.0):.2%}")


def accuracies() -> Iterator[Finding]:
    """Accuracies against the four digits of the publisher's later page."""
    for name, row in document().models.items():
        later = document().later[name]
        for what, printed, fine in (("top-1", row.top1, later.top1), ("top-5", row.top5, later.top5)):
            if abs(printed - fine) > 0.0005 + 1e-9:
                claim = f"{what} {printed:.3f} is not what the publisher's later page rounds to."
                yield Finding("accuracies", "wrong", name, claim, f"later {fine:.4f}")
                return
    claim = f"All {2 * len(document().models)} accuracies are those of the publisher's later page, rounded."
    yield Finding("accuracies", "holds", "all networks", claim, "no difference is over 0.0005")


# --- latencies ---


def _milliseconds(gpu: str, precision: str, model: str, batch: int) -> float:
    return document().latency[gpu][precision][model][f"b{batch}"]


def _limit(gpu: str, precision: str, model: str, batch: int) -> Limit:
    limit = limit_of_published(gpu, MODELS[model], precision, batch)
    assert limit is not None  # both GPUs' peaks are rows of GPUS
    return limit


def _share(gpu: str, precision: str, model: str, batch: int) -> float:
    return _limit(gpu, precision, model, batch).seconds * 1000 / _milliseconds(gpu, precision, model, batch)


def roofline() -> Iterator[Finding]:
    """Each column against the least time that the GPU's peaks allow."""
    for gpu, precision, batch in COLUMNS:
        shares = {model: _share(gpu, precision, model, batch) for model in document().models}
        low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        subject = f"{gpu.upper()} {precision.upper()} b{batch}"
        evidence = f"from {shares[low]:.1%} ({low}) to {shares[high]:.1%} ({high}) of the limit"
        if shares[high] > 1:
            claim = "Some latencies are shorter than the GPU's peaks allow for direct convolutions."
            yield Finding("roofline", "wrong", subject, claim, evidence)
        elif shares[high] < 0.05:
            yield Finding("roofline", "doubtful", subject, "Not one network reaches a twentieth of the limit.", evidence)
        else:
            yield Finding("roofline", "holds", subject, "No latency is shorter than the limit.", evidence)


def batches() -> Iterator[Finding]:
    """More images take longer, and no longer an image."""
    good = 0
    rows = {
        (f"{model}, T4 {precision.upper()}", size): value
        for precision in ("fp32", "fp16")
        for model in document().models
        for size in (1, 4, 8)
        if (value := _milliseconds("t4", precision, model, size))
    }
    for subject in dict.fromkeys(name for name, _ in rows):
        for fewer, more in pairwise((1, 4, 8)):
            less, full = rows[subject, fewer], rows[subject, more]
            if less < full <= less * more / fewer:
                good += 1
                continue
            claim = f"{more} images take {full / less:.2f} times as long as {fewer}."
            yield Finding("batches", "doubtful", subject, claim, f"{less:.2f} ms, {full:.2f} ms")
    yield Finding("batches", "holds", "T4", f"{good} steps of the batch take longer, and no longer an image.", "b1 to b4 to b8")


def precisions() -> Iterator[Finding]:
    """FP16 against FP32 on the same GPU."""
    gains = {}
    for batch in (1, 4, 8):
        for model in document().models:
            full, half = _milliseconds("t4", "fp32", model, batch), _milliseconds("t4", "fp16", model, batch)
            gains[model, batch] = full / half
            if half >= full:
                claim = f"FP16 is slower than FP32, by {half / full - 1:.1%}."
                yield Finding(
                    "precisions", "doubtful", f"{model}, T4 b{batch}", claim, f"FP16 {half:.2f} ms, FP32 {full:.2f} ms"
                )
    (model, batch), gain = max(gains.items(), key=lambda item: item[1])
    peaks = _limit("t4", "fp32", "densenet121", 8).seconds / _limit("t4", "fp16", "densenet121", 8).seconds
    claim = f"FP16 is at most {gain:.2f} times as fast as FP32, where the T4's peaks differ {peaks:.0f}-fold."
    yield Finding("precisions", "doubtful", "T4", claim, f"the most at {model} b{batch}")


def _within(small: Model, large: Model) -> bool:
    """Whether a network is the other one with more of something, and less of nothing."""
    if small.family != large.family or small.flops >= large.flops or small.params >= large.params:
        return False
    return all(a <= b for a, b in zip(small.arguments["blocks"], large.arguments["blocks"], strict=True))


def widths() -> Iterator[Finding]:
    """A deeper or wider network of one family is not faster."""
    good = 0
    printed = [MODELS[name] for name in document().models]
    pairs = [(a, b) for a, b in combinations(sorted(printed, key=lambda row: row.flops), 2) if _within(a, b)]
    for gpu, precision, batch in COLUMNS:
        for small, large in pairs:
            less, more = (_milliseconds(gpu, precision, row.name, batch) for row in (small, large))
            if less <= more:
                good += 1
                continue
            subject = f"{large.name}, {gpu.upper()} {precision.upper()} b{batch}"
            claim = f"It is faster than {small.name}, which has fewer FLOPs, parameters and layers."
            yield Finding("widths", "doubtful", subject, claim, f"{more:.2f} ms against {less:.2f} ms")
    yield Finding(
        "widths", "holds", "all columns", f"{good} pairs of nested networks are in order.", f"{len(pairs)} pairs a column"
    )


def devices() -> Iterator[Finding]:
    """The V100 against the T4: its peaks and bandwidth are higher."""
    for model in document().models:
        fast, slow = _milliseconds("v100", "fp32", model, 1), _milliseconds("t4", "fp32", model, 1)
        if fast >= slow:
            ratio = _limit("t4", "fp32", model, 1).seconds / _limit("v100", "fp32", model, 1).seconds
            claim = f"A V100 takes {fast / slow - 1:.1%} longer than a T4, where its limit is {ratio:.1f} times lower."
            evidence = f"V100 {fast:.2f} ms, T4 {slow:.2f} ms; the limit is the SXM2 card's, for the page does not say which"
            yield Finding("devices", "doubtful", f"{model}, FP32 b1", claim, evidence)


ALIKE = 0.06
"""Latencies that differ by less, on hardware whose limits differ sixfold, are not the GPU's."""


def host_bound() -> Iterator[Finding]:
    """Batch 1 takes the same time whatever the GPU and precision: the host is measured."""
    for model in document().models:
        cells = [(gpu, precision) for gpu, precision, batch in COLUMNS if batch == 1]
        times = [_milliseconds(gpu, precision, model, 1) for gpu, precision in cells]
        limits = [_limit(gpu, precision, model, 1).seconds for gpu, precision in cells]
        if max(times) / min(times) - 1 > ALIKE or max(limits) / min(limits) < 6:
            continue
        told = ", ".join(
            f"{gpu.upper()} {precision.upper()} {ms:.2f} ms" for (gpu, precision), ms in zip(cells, times, strict=True)
        )
        claim = (
            f"The three latencies are within {max(times) / min(times) - 1:.1%} of one another, their limits "
            f"{max(limits) / min(limits):.1f}-fold apart: most likely the host was timed, not the GPU."
        )
        four = _milliseconds("t4", "fp16", model, 4) / _milliseconds("t4", "fp16", model, 1)
        yield Finding(
            "host-bound", "doubtful", f"{model}, b1", claim, f"{told}; four images take {four:.2f} times as long (T4 FP16)"
        )


def later() -> Iterator[Finding]:
    """The V100's column against the publisher's page of December 2021, and that page against itself."""
    for model in document().models:
        first, second = _milliseconds("v100", "fp32", model, 1), document().later[model].v100_fp32["b1"]
        if not 0.8 < first / second < 1.25:
            claim = f"It is {first / second:.1f} times what the publisher's page of December 2021 has."
            evidence = f"{first:.2f} ms here; there {second:.2f} ms, of 2100 runs the first 100 dropped"
            yield Finding("later page", "doubtful", f"{model}, V100 FP32 b1", claim, evidence)
    for model in document().models:
        sizes = document().later[model].v100_fp32
        if sizes["b4"] > 4 * sizes["b1"]:
            claim = (
                f"On that page four images take {sizes['b4'] / sizes['b1']:.2f} times as long as one, so it is doubtful, too."
            )
            evidence = f"{sizes['b1']:.2f} ms, {sizes['b4']:.2f} ms"
            yield Finding("later page", "doubtful", f"{model}, later V100 FP32", claim, evidence)


def footnote() -> Iterator[Finding]:
    """The version of TensorRT that later pages give for these very latencies."""
    note = document().footnote
    claim = f"The footnote that these latencies are TensorRT {note.version}'s cannot be true: they are older than it."
    evidence = (
        f"{note.pages} have it since {note.added} (PaddleClas commit {note.added_commit}); all sixty T4 latencies stand, digit "
        f"for digit, since {note.first} (commit {note.first_commit}); NVIDIA's changelog had {note.newest} on {note.newest_on}"
    )
    yield Finding("footnote", "wrong", "T4", claim, evidence)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    counts,
    footnote,
    host_bound,
    later,
    devices,
    precisions,
    roofline,
    batches,
    widths,
    accuracies,
)
