"""WARNINGS: what makes a result doubtful, causes before effects, with advice."""

from collections.abc import Iterator
from statistics import median

from trtzoo.benchmark.protocols import reported
from trtzoo.core.records import GpuState, Result
from trtzoo.core.statistics import summarise, trend

LOCK = "lock the GPU at a clock it can sustain: nvidia-smi --lock-gpu-clocks=MHZ (trtzoo doctor --gpu auto prints the commands)"
LONGER = "sample longer: --seconds 10"
OTHERS = 0.075  # other programs may use this share of our cores; older files of GPUs have no number of cores: 2
POWER_CAP = "software power cap"  # NVML's reason that is usual for some cards

WARNINGS = {
    "graph": "to measure so on purpose: --cuda-graph off",
    "load": "stop them and measure again",
    "shared": "stop them and measure again; nvidia-smi lists them",
    "hot": f"cool the GPU, or {LOCK}",
    "slowed": LOCK,
    "capped": LOCK,
    "clocks": LOCK,
    "spread": LONGER,
    "wide": LONGER,
    "trend": f"let the machine cool, or {LONGER}",
    "host-bound": "try --cuda-graph on",
    "copy-bound": "export with FP16 input and output: --io fp16",
    "unmonitored": "check the GPU: nvidia-smi --query --display=CLOCK,PERFORMANCE,TEMPERATURE",
}  # the advice for each symptom


def symptoms(result: Result) -> Iterator[tuple[str, str]]:
    """The rows of WARNINGS that apply to a good result, each with a clause that gives the measured value and its limit."""
    state, found = result.gpu_state or GpuState(), reported(result)
    if result.graph_error:
        yield "graph", f"measured without a CUDA graph, which could not be captured ({result.graph_error.rstrip('.')})"
    limit = OTHERS * (result.available_cores or result.device.cores or 2)
    if result.other_load > limit:
        yield "load", f"other programs used {result.other_load:.1f} cores (limit {limit:.2g})"
    if state.others:
        yield "shared", f"{state.others} other {'process has' if state.others == 1 else 'processes have'} the GPU open"
    for name in ("hot", "slowed", "capped"):
        reasons = [(reason, count) for reason, count in state.reasons.items() if _slowdown(reason) == name]
        if reasons:
            yield name, " and ".join(f"{reason} in {count} of {state.readings} readings" for reason, count in reasons)
    clock = state.sm_clock
    if clock is not None and clock.low < 0.95 * clock.high:
        yield "clocks", f"the SM clock ran between {clock.low / 1e6:.0f} and {clock.high / 1e6:.0f} MHz (limit 5%)"
    # trtexec's limit on a GPU; a processor shared with an operating system is less steady
    limit, spread = 0.025 if result.device.kind == "gpu" else 0.10, summarise(found.samples).spread
    if spread > limit:
        yield "spread", f"the standard deviation is {spread:.0%} of the mean (limit {limit:.1%})"
    half = (found.high - found.low) / 2 / found.latency
    if half > 0.02:
        yield "wide", f"the {found.statistic} is uncertain by ±{half:.1%} (limit 2%)"
    change = trend(found.samples)
    if abs(change) > 0.05:
        word = "slower" if change > 0 else "faster"
        yield "trend", f"the last third of the run was {abs(change):.0%} {word} than the first (limit 5%)"
    enqueue, compute = (median(getattr(sample, part) for sample in result.samples) for part in ("enqueue", "compute"))
    if enqueue > 0.8 * compute:
        yield "host-bound", f"host-bound: enqueueing takes {enqueue / compute:.0%} of the compute time"
    copies = median(sample.h2d + sample.d2h for sample in result.samples)
    if copies > compute:
        yield "copy-bound", f"copy-bound: transfers take {copies / compute:.1f} times the compute time"
    if state.error:
        extent = f"monitored for {state.readings} readings only" if state.readings else "not monitored"
        yield "unmonitored", f"the GPU was {extent} ({state.error.rstrip('.')})"


def _slowdown(reason: str) -> str:
    """The row of WARNINGS for one of NVML's reasons."""
    if reason == POWER_CAP:
        return "capped"
    return "hot" if "thermal" in reason else "slowed"


def warning_sentence(result: Result) -> str:
    """All symptoms of a result and the advice of the first one; "" for a failed result or one without symptoms."""
    found = list(symptoms(result)) if result.samples and not result.failure else []
    return f"{', '.join(clause for _, clause in found)}: {WARNINGS[found[0][0]]}" if found else ""
