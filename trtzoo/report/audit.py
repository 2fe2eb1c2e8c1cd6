"""Check the published tables against themselves: CHECKS, one function each, yield findings with evidence.

Nothing measured here is used: only exact counts, the publisher's counter and later page, and the peaks of the two GPUs.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise, product
from typing import Literal

import msgspec

from trtzoo.models.table import MODELS, Model
from trtzoo.report.published import BATCHES, document
from trtzoo.report.roofline import limit_of_published

Verdict = Literal["wrong", "doubtful", "holds"]

COLUMNS = (("v100", "fp32", 1), *product(("t4",), ("fp32", "fp16"), BATCHES))
"""The published columns of latencies: GPU, precision, batch."""


class Finding(msgspec.Struct, frozen=True):
    """`claim` is a sentence about `subject`, `evidence` the numbers behind it."""

    check: str
    verdict: Verdict
    subject: str
    claim: str
    evidence: str


def findings() -> list[Finding]:
    """Return all findings: wrong before doubtful before what holds, then in the order of CHECKS."""
    order = ("wrong", "doubtful", "holds")
    return sorted((row for check in CHECKS for row in check()), key=lambda row: order.index(row.verdict))


def _ms(gpu: str, precision: str, model: str, batch: int) -> float:
    """Return a published latency in milliseconds."""
    return document().latency[gpu][precision][model][f"b{batch}"]


def _limit_ms(gpu: str, precision: str, model: str, batch: int) -> float:
    limit = limit_of_published(gpu, MODELS[model], precision, batch)
    assert limit is not None  # both GPUs' peaks are rows of GPUS
    return limit.seconds * 1000


# --- counts ---

CLOSE = 0.005
"""Relative error of a count that still holds."""


def counts() -> Iterator[Finding]:
    """Compare FLOPs and parameters with the exact counts and the publisher's own counter."""
    close = []
    for name, row in document().models.items():
        model, theirs, later = MODELS[name], document().counted[name], document().later[name]
        flops = ("G FLOPs", row.gflops, model.flops / 1e9, theirs.flops / 1e9, 2 * later.gmacs)
        params = ("M parameters", row.mparams, model.params / 1e6, theirs.params / 1e6, later.mparams)
        for quantity, printed, exact, counter, newer in (flops, params):
            unit, error = quantity[0], printed / exact - 1
            if round(counter, 2) != printed:
                claim = f"{printed:.2f} {quantity} is neither the exact count nor the publisher's counter's: a typing error."
                evidence = f"exact {exact:.2f} {unit}; that counter gives {counter:.2f} {unit}"
                yield Finding("counts", "wrong", name, claim, evidence)
            if abs(error) <= CLOSE:
                close.append(abs(error))
                continue
            claim = f"{printed:.2f} {quantity} is {error:+.1%} off the exact count."
            evidence = f"exact {exact:.2f} {unit}; the counter of 2019 gives {counter:.2f}, the publisher's of 2021 {newer:.2f}"
            yield Finding("counts", "wrong", name, claim, evidence)
    claim = f"{len(close)} of {2 * len(document().models)} counts are within {CLOSE:.1%} of the exact ones."
    yield Finding("counts", "holds", "all networks", claim, f"the largest error is {max(close, default=0.0):.2%}")


def accuracies() -> Iterator[Finding]:
    """Compare accuracies with the four digits of the publisher's later page."""
    for name, top in product(document().models, ("top1", "top5")):
        printed, later = getattr(document().models[name], top), getattr(document().later[name], top)
        if abs(printed - later) > 0.0005 + 1e-9:
            claim = f"{top.replace('p', 'p-')} {printed:.3f} is not the rounded value of the publisher's later page."
            yield Finding("accuracies", "wrong", name, claim, f"later {later:.4f}")
            return
    claim = f"All {2 * len(document().models)} accuracies are those of the publisher's later page, rounded."
    yield Finding("accuracies", "holds", "all networks", claim, "no difference is over 0.0005")


# --- latencies ---


def roofline() -> Iterator[Finding]:
    """Compare each column with the shortest time that the GPU's peaks allow."""
    for gpu, precision, batch in COLUMNS:
        shares = {
            model: _limit_ms(gpu, precision, model, batch) / _ms(gpu, precision, model, batch) for model in document().models
        }
        low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        verdict: Verdict = "holds"
        claim = "No latency is shorter than the limit."
        if shares[high] > 1:
            verdict, claim = "wrong", "Some latencies are shorter than the GPU's peaks allow for direct convolutions."
        elif shares[high] < 0.05:
            verdict, claim = "doubtful", "No network reaches a twentieth of the limit."
        evidence = f"from {shares[low]:.1%} ({low}) to {shares[high]:.1%} ({high}) of the limit"
        yield Finding("roofline", verdict, f"{gpu.upper()} {precision.upper()} b{batch}", claim, evidence)


def batches() -> Iterator[Finding]:
    """Check that more images take longer, but not longer per image."""
    good = 0
    for precision, model, (fewer, more) in product(("fp32", "fp16"), document().models, pairwise(BATCHES)):
        less, full = (_ms("t4", precision, model, batch) for batch in (fewer, more))
        if less < full <= less * more / fewer:
            good += 1
            continue
        claim = f"{more} images take {full / less:.2f} times as long as {fewer}."
        yield Finding("batches", "doubtful", f"{model}, T4 {precision.upper()}", claim, f"{less:.2f} ms, {full:.2f} ms")
    yield Finding(
        "batches", "holds", "T4", f"{good} steps of the batch take longer, but not longer per image.", "b1 to b4 to b8"
    )


def precisions() -> Iterator[Finding]:
    """Compare FP16 with FP32 on the same GPU."""
    gains = {}
    for batch, model in product(BATCHES, document().models):
        full, half = (_ms("t4", precision, model, batch) for precision in ("fp32", "fp16"))
        gains[model, batch] = full / half
        if half >= full:
            claim, evidence = f"FP16 is slower than FP32, by {half / full - 1:.1%}.", f"FP16 {half:.2f} ms, FP32 {full:.2f} ms"
            yield Finding("precisions", "doubtful", f"{model}, T4 b{batch}", claim, evidence)
    (model, batch), gain = max(gains.items(), key=lambda item: item[1])
    peaks = _limit_ms("t4", "fp32", "densenet121", 8) / _limit_ms("t4", "fp16", "densenet121", 8)
    claim = f"FP16 is at most {gain:.2f} times as fast as FP32, although the T4's peaks differ {peaks:.0f}-fold."
    yield Finding("precisions", "doubtful", "T4", claim, f"the largest gain is {model} b{batch}")


def _nested(small: Model, large: Model) -> bool:
    """Return whether `large` is `small` with more of something and less of nothing."""
    larger = small.family == large.family and small.flops < large.flops and small.params < large.params
    return larger and all(a <= b for a, b in zip(small.arguments["blocks"], large.arguments["blocks"], strict=True))


def widths() -> Iterator[Finding]:
    """Check that a deeper or wider network of one family is not faster."""
    good = 0
    networks = sorted((MODELS[name] for name in document().models), key=lambda row: row.flops)
    pairs = [(small, large) for small, large in combinations(networks, 2) if _nested(small, large)]
    for (gpu, precision, batch), (small, large) in product(COLUMNS, pairs):
        less, more = (_ms(gpu, precision, row.name, batch) for row in (small, large))
        good += less <= more
        if less > more:
            subject = f"{large.name}, {gpu.upper()} {precision.upper()} b{batch}"
            claim = f"It is faster than {small.name}, which has fewer FLOPs, parameters and layers."
            yield Finding("widths", "doubtful", subject, claim, f"{more:.2f} ms against {less:.2f} ms")
    evidence = f"{len(pairs)} pairs a column"
    yield Finding("widths", "holds", "all columns", f"{good} pairs of nested networks are in order.", evidence)


def devices() -> Iterator[Finding]:
    """Compare the V100 with the T4, whose peaks and bandwidth are lower."""
    for model in document().models:
        fast, slow = (_ms(gpu, "fp32", model, 1) for gpu in ("v100", "t4"))
        if fast >= slow:
            ratio = _limit_ms("t4", "fp32", model, 1) / _limit_ms("v100", "fp32", model, 1)
            claim = f"A V100 takes {fast / slow - 1:.1%} longer than a T4, although its limit is {ratio:.1f} times lower."
            why = "the limit is that of the SXM2 card, because the page does not say which"
            yield Finding("devices", "doubtful", f"{model}, FP32 b1", claim, f"V100 {fast:.2f} ms, T4 {slow:.2f} ms; {why}")


ALIKE = 0.06
"""If latencies differ by less than this on hardware whose limits differ sixfold, the GPU does not determine them."""


def host_bound() -> Iterator[Finding]:
    """Find models whose batch 1 takes the same time on each GPU and precision: the host was timed."""
    cells = [(gpu, precision) for gpu, precision, batch in COLUMNS if batch == 1]
    for model in document().models:
        times = {f"{gpu.upper()} {precision.upper()}": _ms(gpu, precision, model, 1) for gpu, precision in cells}
        limits = [_limit_ms(gpu, precision, model, 1) for gpu, precision in cells]
        spread, apart = max(times.values()) / min(times.values()) - 1, max(limits) / min(limits)
        if spread > ALIKE or apart < 6:
            continue
        claim = (
            f"The three latencies are within {spread:.1%} of one another, although their limits are {apart:.1f}-fold apart: "
            "most likely the host was timed, not the GPU."
        )
        latencies = ", ".join(f"{column} {ms:.2f} ms" for column, ms in times.items())
        four = _ms("t4", "fp16", model, 4) / _ms("t4", "fp16", model, 1)
        evidence = f"{latencies}; four images take {four:.2f} times as long (T4 FP16)"
        yield Finding("host-bound", "doubtful", f"{model}, b1", claim, evidence)


def later() -> Iterator[Finding]:
    """Compare the V100's column with the publisher's page of December 2021, and that page with itself."""
    for model, row in document().later.items():
        first, second = _ms("v100", "fp32", model, 1), row.v100_fp32["b1"]
        if not 0.8 < first / second < 1.25:
            claim = f"It is {first / second:.1f} times the latency on the publisher's page of December 2021."
            evidence = f"{first:.2f} ms here; {second:.2f} ms there, of 2100 runs without the first 100"
            yield Finding("later page", "doubtful", f"{model}, V100 FP32 b1", claim, evidence)
    for model, row in document().later.items():
        one, four = row.v100_fp32["b1"], row.v100_fp32["b4"]
        if four > 4 * one:
            claim = f"On that page four images take {four / one:.2f} times as long as one, so it is doubtful, too."
            yield Finding("later page", "doubtful", f"{model}, later V100 FP32", claim, f"{one:.2f} ms, {four:.2f} ms")


def footnote() -> Iterator[Finding]:
    """Check the version of TensorRT that later pages give for these latencies."""
    note = document().footnote
    claim = f"The footnote that these latencies are TensorRT {note.version}'s cannot be true: they are older than it."
    evidence = (
        f"{note.pages} have it since {note.added} (PaddleClas commit {note.added_commit}); all sixty T4 latencies are "
        f"unchanged since {note.first} (commit {note.first_commit}); NVIDIA's changelog had {note.newest} on {note.newest_on}"
    )
    yield Finding("footnote", "wrong", "T4", claim, evidence)


CHECKS = (counts, footnote, host_bound, later, devices, precisions, roofline, batches, widths, accuracies)
