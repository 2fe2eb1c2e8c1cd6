"""FLAGS: what makes a run doubtful, one row each, causes before effects: the symptom with its number, and what helps."""

from collections.abc import Callable
from statistics import median

import msgspec

from trtzoo.core.records import GpuState, Result
from trtzoo.core.statistics import interval, summarise, trend


class RunWarning(msgspec.Struct, frozen=True):
    """`symptom` gives a sentence without its full stop, or nothing where all is well."""

    name: str
    symptom: Callable[[Result], str]
    advice: str


def _spread(result: Result) -> str:
    """trtexec warns from 2.5 % on; a processor shared with an operating system is not so steady."""
    limit = 0.025 if result.device.kind == "gpu" else 0.10
    spread = summarise(_totals(result)).spread
    return f"samples spread by {spread:.0%} of their mean (limit {limit:.1%})" if spread > limit else ""


def _wide(result: Result) -> str:
    found, middle = interval(_totals(result)), median(_totals(result))
    half = (found.high - found.low) / 2 / middle
    return f"the median is known to ±{half:.1%} only (limit 2%)" if half > 0.02 else ""


def _trend(result: Result) -> str:
    change = trend(_totals(result))
    return f"the last third ran {change:+.0%} against the first (limit 5%)" if abs(change) > 0.05 else ""


def _load(result: Result) -> str:
    return f"other programs used {result.other_load:.1f} cores" if result.other_load > 0.15 else ""


def _shared(result: Result) -> str:
    others = result.gpu_state.others if result.gpu_state else 0
    return f"{others} other {'process has' if others == 1 else 'processes have'} the GPU open" if others else ""


def _hot(result: Result) -> str:
    return _held(result, lambda reason: "thermal" in reason)


def _capped(result: Result) -> str:
    return _held(result, lambda reason: "thermal" not in reason)


def _held(result: Result, meant: Callable[[str], bool]) -> str:
    """What held the GPU's clocks down, of the reasons that are meant."""
    state = result.gpu_state or GpuState()
    found = [f"{reason} in {count} of {state.readings} readings" for reason, count in state.reasons.items() if meant(reason)]
    return " and ".join(found)


def _clocks(result: Result) -> str:
    clock = result.gpu_state.sm_clock if result.gpu_state else None
    if clock is None or clock.low >= 0.95 * clock.high:
        return ""
    return f"the SM clock ran between {clock.low / 1e6:.0f} and {clock.high / 1e6:.0f} MHz (limit 5%)"


def _unwatched(result: Result) -> str:
    state = result.gpu_state
    if state is None or not state.error:
        return ""
    seen = f"watched for {state.readings} readings only" if state.readings else "not watched"
    return f"the GPU was {seen} ({state.error.rstrip('.')})"


def _host_bound(result: Result) -> str:
    enqueue, compute = (median(getattr(s, part) for s in result.samples) for part in ("enqueue", "compute"))
    return f"host-bound: enqueueing takes {enqueue / compute:.0%} of the compute time" if enqueue > 0.8 * compute else ""


def _copy_bound(result: Result) -> str:
    copies, compute = median(s.h2d + s.d2h for s in result.samples), median(s.compute for s in result.samples)
    return f"copy-bound: transfers take {copies / compute:.1f} times the compute time" if copies > compute else ""


WARNINGS = (
    RunWarning("load", _load, "stop them and measure again"),
    RunWarning("shared", _shared, "stop them and measure again; nvidia-smi names them"),
    RunWarning("hot", _hot, "cool the GPU, or hold it at a clock it can keep: nvidia-smi --lock-gpu-clocks=MHZ"),
    RunWarning("capped", _capped, "hold the GPU at a clock it can keep: nvidia-smi --lock-gpu-clocks=MHZ"),
    RunWarning("clocks", _clocks, "hold the GPU at a clock it can keep: nvidia-smi --lock-gpu-clocks=MHZ"),
    RunWarning("spread", _spread, "give it more time: --seconds 10"),
    RunWarning("wide", _wide, "give it more time: --seconds 10"),
    RunWarning("trend", _trend, "let the machine cool, or give it more time: --seconds 10"),
    RunWarning("host-bound", _host_bound, "try --cuda-graph on"),
    RunWarning("copy-bound", _copy_bound, "export with FP16 input and output: --io fp16"),
    RunWarning(
        "unwatched", _unwatched, "see how it fares meanwhile: nvidia-smi --query --display=CLOCK,PERFORMANCE,TEMPERATURE"
    ),
)


def warning_sentence(result: Result) -> str:
    """All symptoms of a good result and the first one's remedy, as a sentence; nothing where there is no doubt."""
    if result.failure or not result.samples:
        return ""
    found = [(symptom, flag.advice) for flag in WARNINGS if (symptom := flag.symptom(result))]
    return f"{', '.join(symptom for symptom, _ in found)}: {found[0][1]}" if found else ""


def _totals(result: Result) -> list[float]:
    return [sample.total for sample in result.samples]
