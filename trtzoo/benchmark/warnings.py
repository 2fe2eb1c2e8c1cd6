"""WARNINGS: what makes a result doubtful, one row each, causes before effects: the symptom with its value, and advice."""

from collections.abc import Callable
from functools import partial
from statistics import median

import msgspec

from trtzoo.core.records import GpuState, Result
from trtzoo.core.statistics import interval, summarise, trend


class RunWarning(msgspec.Struct, frozen=True):
    """`symptom` gives a clause with the measured value and its limit, or "" if the result is fine."""

    name: str
    symptom: Callable[[Result], str]
    advice: str


def _load(result: Result) -> str:
    return f"other programs used {result.other_load:.1f} cores" if result.other_load > 0.15 else ""


def _shared(result: Result) -> str:
    others = _gpu(result).others
    return f"{others} other {'process has' if others == 1 else 'processes have'} the GPU open" if others else ""


def _throttling(result: Result, *, thermal: bool) -> str:
    """The reasons that held the GPU's clocks down, either thermal ones or all others."""
    state = _gpu(result)
    reasons = [(reason, count) for reason, count in state.reasons.items() if ("thermal" in reason) == thermal]
    return " and ".join(f"{reason} in {count} of {state.readings} readings" for reason, count in reasons)


def _clocks(result: Result) -> str:
    clock = _gpu(result).sm_clock
    if clock is None or clock.low >= 0.95 * clock.high:
        return ""
    return f"the SM clock ran between {clock.low / 1e6:.0f} and {clock.high / 1e6:.0f} MHz (limit 5%)"


def _spread(result: Result) -> str:
    """trtexec's limit on a GPU; a processor shared with an operating system is less steady."""
    limit = 0.025 if result.device.kind == "gpu" else 0.10
    spread = summarise(_totals(result)).spread
    return f"the standard deviation is {spread:.0%} of the mean (limit {limit:.1%})" if spread > limit else ""


def _wide(result: Result) -> str:
    known, middle = interval(_totals(result)), median(_totals(result))
    half = (known.high - known.low) / 2 / middle
    return f"the median is uncertain by ±{half:.1%} (limit 2%)" if half > 0.02 else ""


def _trend(result: Result) -> str:
    change = trend(_totals(result))
    word = "slower" if change > 0 else "faster"
    return f"the last third of the run was {abs(change):.0%} {word} than the first (limit 5%)" if abs(change) > 0.05 else ""


def _host_bound(result: Result) -> str:
    enqueue, compute = (median(getattr(sample, part) for sample in result.samples) for part in ("enqueue", "compute"))
    return f"host-bound: enqueueing takes {enqueue / compute:.0%} of the compute time" if enqueue > 0.8 * compute else ""


def _copy_bound(result: Result) -> str:
    copies = median(sample.h2d + sample.d2h for sample in result.samples)
    compute = median(sample.compute for sample in result.samples)
    return f"copy-bound: transfers take {copies / compute:.1f} times the compute time" if copies > compute else ""


def _unmonitored(result: Result) -> str:
    state = _gpu(result)
    if not state.error:
        return ""
    extent = f"monitored for {state.readings} readings only" if state.readings else "not monitored"
    return f"the GPU was {extent} ({state.error.rstrip('.')})"


def _gpu(result: Result) -> GpuState:
    return result.gpu_state or GpuState()


def _totals(result: Result) -> list[float]:
    return [sample.total for sample in result.samples]


LOCK = "lock the GPU at a clock it can sustain: nvidia-smi --lock-gpu-clocks=MHZ"
LONGER = "sample longer: --seconds 10"

WARNINGS = (
    RunWarning("load", _load, "stop them and measure again"),
    RunWarning("shared", _shared, "stop them and measure again; nvidia-smi lists them"),
    RunWarning("hot", partial(_throttling, thermal=True), f"cool the GPU, or {LOCK}"),
    RunWarning("capped", partial(_throttling, thermal=False), LOCK),
    RunWarning("clocks", _clocks, LOCK),
    RunWarning("spread", _spread, LONGER),
    RunWarning("wide", _wide, LONGER),
    RunWarning("trend", _trend, f"let the machine cool, or {LONGER}"),
    RunWarning("host-bound", _host_bound, "try --cuda-graph on"),
    RunWarning("copy-bound", _copy_bound, "export with FP16 input and output: --io fp16"),
    RunWarning("unmonitored", _unmonitored, "check the GPU: nvidia-smi --query --display=CLOCK,PERFORMANCE,TEMPERATURE"),
)


def warning_sentence(result: Result) -> str:
    """All symptoms of a result and the advice of the first one; "" for a failed result or one without symptoms."""
    if result.failure or not result.samples:
        return ""
    found = [(symptom, row.advice) for row in WARNINGS if (symptom := row.symptom(result))]
    return f"{', '.join(symptom for symptom, _ in found)}: {found[0][1]}" if found else ""
