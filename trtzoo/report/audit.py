"""Check the published tables against themselves: CHECKS, one function each, yield findings with evidence.

Nothing measured here is used: only exact counts, the publisher's counter and later page, and the peaks of the two GPUs. The
sentences are in audit.toml.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise, product
from typing import Any

import msgspec

from trtzoo.models.table import MODELS, Model
from trtzoo.report.published import BATCHES, document, read_toml
from trtzoo.report.roofline import limit_of_published

COLUMNS = (("v100", "fp32", 1), *product(("t4",), ("fp32", "fp16"), BATCHES))  # GPU, precision, batch
CLOSE = 0.005  # relative error of a count that still holds
ALIKE = 0.06  # if latencies differ by less on hardware whose limits differ sixfold, the GPU does not determine them
VERDICTS = ("wrong", "doubtful", "holds")


class Finding(msgspec.Struct, frozen=True):
    """`claim` is a sentence about `subject`, `evidence` the numbers behind it."""

    check: str
    verdict: str
    subject: str
    claim: str
    evidence: str


def findings() -> list[Finding]:
    """Return all findings: wrong before doubtful before what holds, then in the order of CHECKS."""
    return sorted((row for check in CHECKS for row in check()), key=lambda row: VERDICTS.index(row.verdict))


def _finding(check: str, outcome: str, subject: str, **numbers: Any) -> Finding:
    row = read_toml("audit.toml")[check][outcome]
    return Finding(check, row["verdict"], subject, row["claim"].format(**numbers), row["evidence"].format(**numbers))


def _ms(gpu: str, precision: str, model: str, batch: int) -> float:
    """Return a published latency in milliseconds."""
    return document().latency[gpu][precision][model][f"b{batch}"]


def _limit_ms(gpu: str, precision: str, model: str, batch: int) -> float:
    limit = limit_of_published(gpu, MODELS[model], precision, batch)
    assert limit is not None  # both GPUs' peaks are rows of GPUS
    return limit.seconds * 1000


# --- counts ---


def counts() -> Iterator[Finding]:
    """Compare FLOPs and parameters with the exact counts and the publisher's own counter."""
    close = []
    for name, row in document().models.items():
        model, theirs, later = MODELS[name], document().counted[name], document().later[name]
        flops = ("G FLOPs", row.gflops, model.flops / 1e9, theirs.flops / 1e9, 2 * later.gmacs)
        params = ("M parameters", row.mparams, model.params / 1e6, theirs.params / 1e6, later.mparams)
        for quantity, printed, exact, counter, newer in (flops, params):
            numbers = {"quantity": quantity, "unit": quantity[0], "printed": printed, "exact": exact, "counter": counter}
            error = printed / exact - 1
            if round(counter, 2) != printed:
                yield _finding("counts", "typed", name, **numbers)
            if abs(error) <= CLOSE:
                close.append(abs(error))
            else:
                yield _finding("counts", "off", name, **numbers, newer=newer, error=error)
    number, largest = 2 * len(document().models), max(close, default=0.0)
    yield _finding("counts", "close", "all networks", close=len(close), all=number, limit=CLOSE, largest=largest)


def accuracies() -> Iterator[Finding]:
    """Compare accuracies with the four digits of the publisher's later page."""
    for name, top in product(document().models, ("top1", "top5")):
        printed, later = getattr(document().models[name], top), getattr(document().later[name], top)
        if abs(printed - later) > 0.0005 + 1e-9:
            yield _finding("accuracies", "off", name, title=top.replace("p", "p-"), printed=printed, later=later)
            return
    yield _finding("accuracies", "same", "all networks", all=2 * len(document().models))


# --- latencies ---


def roofline() -> Iterator[Finding]:
    """Compare each column with the shortest time that the GPU's peaks allow."""
    for gpu, precision, batch in COLUMNS:
        cells = {model: (gpu, precision, model, batch) for model in document().models}
        shares = sorted((_limit_ms(*cell) / _ms(*cell), model) for model, cell in cells.items())
        (low, lowest), (high, highest) = shares[0], shares[-1]
        outcome = "shorter" if high > 1 else "far" if high < 0.05 else "possible"
        subject = f"{gpu.upper()} {precision.upper()} b{batch}"
        yield _finding("roofline", outcome, subject, low=low, lowest=lowest, high=high, highest=highest)


def batches() -> Iterator[Finding]:
    """Check that more images take longer, but not longer per image."""
    good = 0
    for precision, model, (fewer, more) in product(("fp32", "fp16"), document().models, pairwise(BATCHES)):
        less, full = (_ms("t4", precision, model, batch) for batch in (fewer, more))
        if less < full <= less * more / fewer:
            good += 1
        else:
            numbers = {"fewer": fewer, "more": more, "less": less, "full": full, "ratio": full / less}
            yield _finding("batches", "odd", f"{model}, T4 {precision.upper()}", **numbers)
    yield _finding("batches", "good", "T4", good=good)


def precisions() -> Iterator[Finding]:
    """Compare FP16 with FP32 on the same GPU."""
    gains = []
    for batch, model in product(BATCHES, document().models):
        full, half = (_ms("t4", precision, model, batch) for precision in ("fp32", "fp16"))
        gains.append((full / half, model, batch))
        if half >= full:
            yield _finding("precisions", "slower", f"{model}, T4 b{batch}", loss=half / full - 1, half=half, full=full)
    gain, model, batch = max(gains)
    peaks = _limit_ms("t4", "fp32", "densenet121", 8) / _limit_ms("t4", "fp16", "densenet121", 8)
    yield _finding("precisions", "gain", "T4", gain=gain, peaks=peaks, model=model, batch=batch)


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
            yield _finding("widths", "faster", subject, small=small.name, less=less, more=more)
    yield _finding("widths", "good", "all columns", good=good, pairs=len(pairs))


def devices() -> Iterator[Finding]:
    """Compare the V100 with the T4, whose peaks and bandwidth are lower."""
    for model in document().models:
        fast, slow = (_ms(gpu, "fp32", model, 1) for gpu in ("v100", "t4"))
        if fast >= slow:
            limits = _limit_ms("t4", "fp32", model, 1) / _limit_ms("v100", "fp32", model, 1)
            yield _finding("devices", "slower", f"{model}, FP32 b1", loss=fast / slow - 1, limits=limits, fast=fast, slow=slow)


def host_bound() -> Iterator[Finding]:
    """Find models whose batch 1 takes the same time on each GPU and precision: the host was timed."""
    for model in document().models:
        cells = [(gpu, precision, model, batch) for gpu, precision, batch in COLUMNS if batch == 1]
        times, limits = [_ms(*cell) for cell in cells], [_limit_ms(*cell) for cell in cells]
        spread, apart = max(times) / min(times) - 1, max(limits) / min(limits)
        if spread <= ALIKE and apart >= 6:
            named = (f"{cell[0].upper()} {cell[1].upper()} {ms:.2f} ms" for cell, ms in zip(cells, times, strict=True))
            four = _ms("t4", "fp16", model, 4) / _ms("t4", "fp16", model, 1)
            numbers = {"spread": spread, "limits": apart, "latencies": ", ".join(named), "four": four}
            yield _finding("host-bound", "alike", f"{model}, b1", **numbers)


def later() -> Iterator[Finding]:
    """Compare the V100's column with the publisher's page of December 2021, and that page with itself."""
    for model, row in document().later.items():
        here, there = _ms("v100", "fp32", model, 1), row.v100_fp32["b1"]
        if not 0.8 < here / there < 1.25:
            yield _finding("later page", "differs", f"{model}, V100 FP32 b1", ratio=here / there, here=here, there=there)
    for model, row in document().later.items():
        one, four = row.v100_fp32["b1"], row.v100_fp32["b4"]
        if four > 4 * one:
            yield _finding("later page", "itself", f"{model}, later V100 FP32", ratio=four / one, one=one, four=four)


def footnote() -> Iterator[Finding]:
    """Check the version of TensorRT that later pages give for these latencies."""
    yield _finding("footnote", "impossible", "T4", note=document().footnote)


CHECKS = (counts, footnote, host_bound, later, devices, precisions, roofline, batches, widths, accuracies)
