"""FACTS: all that a result file tells about its number, one row each, in words."""

from collections.abc import Callable, Sequence

from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.records import GpuState, Result, Span
from trtzoo.core.statistics import summarise
from trtzoo.report.page.rows import values
from trtzoo.report.wording import device_text

Facts = Sequence[tuple[str, str]]
"""Names and words."""


def _samples(result: Result) -> str:
    if not result.samples:
        return ""
    found = summarise(values(result))
    parts = {
        "median": found.median,
        "mean": found.mean,
        "p90": found.p90,
        "p99": found.p99,
        "fastest": found.minimum,
        "slowest": found.maximum,
    }
    told = ", ".join(f"{name} {value * 1000:.3f} ms" for name, value in parts.items())
    return f"{found.count}: {told}; they spread by {found.spread:.1%} of their mean"


def _protocol(result: Result) -> str:
    row = PROTOCOLS[result.case.protocol]
    return f"{row.name}: {row.statistic} of {row.metric}; {row.note}"


def _device(result: Result) -> str:
    found = result.device
    memory = f"{found.memory / 2**30:.0f} GiB" if found.memory else ""
    parts = [device_text(found), memory, f"SM{found.sm}" if found.sm else "", found.bus_id]
    return ", ".join(filter(None, parts))


def _weights(result: Result) -> str:
    found = result.weights
    return f"{found.source}, from {found.origin}; BN epsilon {found.epsilon:g}" if found else "unknown"


def _check(result: Result) -> str:
    found = result.check
    if found is None:
        return "not checked"
    return f"{found.error:.2g} of max |logit| from the golden sample (limit {found.tolerance:.2g}), {found.images} images"


def _gpu_state(result: Result) -> str:
    state = result.gpu_state or GpuState()
    read = {
        "SM clock": (state.sm_clock, 1e6, "MHz"),
        "memory clock": (state.memory_clock, 1e6, "MHz"),
        "power": (state.power, 1.0, "W"),
        "temperature": (state.temperature, 1.0, "°C"),
    }
    spans = [_span(name, *told) for name, told in read.items()]
    reasons = [f"{reason} in {count} of {state.readings} readings" for reason, count in state.reasons.items()]
    return "; ".join(filter(None, [*spans, *reasons, state.error]))


def _span(name: str, span: Span | None, unit: float, symbol: str) -> str:
    return f"{name} {span.low / unit:.0f} to {span.high / unit:.0f} {symbol}" if span else ""


def _pairs(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


RESULT_FACTS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("Samples", _samples),
    ("Protocol", _protocol),
    ("Device", _device),
    ("Versions", lambda result: _pairs(result.versions)),
    ("Chosen", lambda result: result.selection_reason),
    ("Settings", lambda result: _pairs(result.settings)),
    ("Threads", lambda result: str(result.threads or "")),
    ("Input and output", lambda result: result.io.upper()),
    ("Weights", _weights),
    ("Why seeded", lambda result: result.weights.fallback if result.weights else ""),
    ("Weights' sha256", lambda result: result.weights.sha256 if result.weights else ""),
    ("File run, sha256", lambda result: result.artifact_sha256),
    ("Outputs", _check),
    ("Measured", lambda result: result.started),
    ("Opening took", lambda result: f"{result.load:.2f} s" if result.load else ""),
    ("Other programs", lambda result: f"{result.other_load:.2f} cores"),
    ("GPU meanwhile", _gpu_state),
)
"""Each fact's name, and its words; none where the file does not tell it."""


def facts(result: Result) -> list[tuple[str, str]]:
    """The facts that a file tells."""
    return [(name, words) for name, tell in RESULT_FACTS if (words := tell(result))]
