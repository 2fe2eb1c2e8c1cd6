"""Explain a number: find its result by words, and show the file's facts. A fact is a row in explain()."""

import re

from trtzoo.benchmark.protocols import reported_latency
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.errors import StoreError, UsageError, unknown
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Device, GoldenCheck, GpuState, Result
from trtzoo.core.statistics import interval, summarise
from trtzoo.hardware.gpus import identify_gpu
from trtzoo.models.table import MODELS
from trtzoo.report.published import document
from trtzoo.report.results import Found, device_text, metric_seconds, pairs_text, protocol_text
from trtzoo.report.roofline import limit_of, limit_share

EXAMPLE = "Example: --explain dpn131,fp16,b4"


def select(found: list[Found], text: str) -> list[Found]:
    """Return the results that match every word of a comma list, in any order.

    Words name a model, a precision, a batch (b4), a device (or cpu, gpu), a runtime, a protocol, or graph or plain. Raises
    UsageError for an unknown word or two words of one kind, StoreError if no result matches.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"--explain {text!r} names no cell. {EXAMPLE}")
    kinds = [_kind(word, found) for word in words]
    for kind, plural in (("model", "models"), ("precision", "precisions"), ("batch", "batches")):
        if kinds.count(kind) > 1:
            raise UsageError(f"--explain {text!r} names {kinds.count(kind)} {plural}, and a cell has one. {EXAMPLE}")
    chosen = [row for row in found if all(_matches(word, row.result) for word in words)]
    if not chosen:
        named = dict(zip(kinds, words, strict=True))
        command = ["trtzoo bench", named.get("model", "--all")]
        command += ["--precision", named["precision"]] if "precision" in named else []
        command += ["--batch", named["batch"].removeprefix("b")] if "batch" in named else []
        raise StoreError(f"Nothing was measured for {', '.join(words)}. To measure: {' '.join(command)}")
    return chosen


def listing(found: list[Found]) -> list[str]:
    """For each result, the text that selects only that result."""
    return [",".join(_words(row.result)) for row in found]


def _kind(word: str, found: list[Found]) -> str:
    """Return what a word names. Raises UsageError, with the nearest name, for an unknown word."""
    if _batch(word):
        return "batch"
    for kind, known in (("model", MODELS), ("precision", PRECISIONS)):
        if word in known:
            return kind
    if any(_matches(word, row.result) for row in found):
        return "other"
    others = {name for row in found for name in (*_words(row.result)[3:], row.result.device.kind)}
    raise unknown("part of a cell", word, [*MODELS, *PRECISIONS, "b1", "b4", "b8", *sorted(others)])


def _batch(word: str) -> int | None:
    """Return the batch that a word names, "b4" or "4"; None for a number that is part of a GPU's name, such as 4090."""
    found = re.fullmatch(r"b?([1-9][0-9]{0,3})", word)
    return int(found[1]) if found and int(found[1]) <= 1024 else None


def _matches(word: str, result: Result) -> bool:
    if batch := _batch(word):
        return result.case.batch == batch
    return word in (*_words(result), result.device.kind, *result.device.key.split("-"))


def _words(result: Result) -> list[str]:
    case = result.case
    graph = {None: [], True: ["graph"], False: ["plain"]}[case.cuda_graph]
    return [case.model, case.precision, f"b{case.batch}", result.device.key, case.runtime, case.protocol, *graph]


# --- facts ---


def explain(found: Found) -> dict[str, str]:
    """Return everything that is known of a result, by name, in words. A fact without text is left out."""
    result, weights = found.result, found.result.weights
    facts = {
        "File": str(found.path),
        "Cell": ",".join(_words(result)),
        "Latency": _latency(result),
        "Published": _published(result),
        "Limit": _limit(result),
        "Doubts": warning_sentence(result) or ("" if result.failure else "none"),
        "Samples": _samples(result),
        "Protocol": protocol_text(result.case.protocol),
        "Device": _device(result.device),
        "Versions": pairs_text(result.versions, ", "),
        "Chosen": result.selection_reason,
        "Settings": pairs_text(result.settings, ", "),
        "Threads": str(result.threads or ""),
        "Input and output": result.io.upper(),
        "Weights": f"{weights.source}, from {weights.origin}; BN epsilon {weights.epsilon:g}" if weights else "unknown",
        "Why seeded": weights.fallback if weights else "",
        "Weights' sha256": weights.sha256 if weights else "",
        "File run, sha256": result.artifact_sha256,
        "Outputs": _outputs(result.check),
        "Measured": result.started,
        "Opening took": f"{result.load:.2f} s" if result.load else "",
        "Other programs": f"{result.other_load:.2f} cores",
        "GPU meanwhile": _gpu_state(result.gpu_state or GpuState()),
    }
    return {name: text for name, text in facts.items() if text}


def _latency(result: Result) -> str:
    if result.failure:
        return f"failed: {result.failure.kind}: {result.failure.reason}"
    known = interval([sample.total for sample in result.samples])
    return f"{_ms(reported_latency(result))}; 95 % interval of the query's median: {_ms(known.low)} to {_ms(known.high)}"


def _published(result: Result) -> str:
    """The published latency on the same GPU, and the ratio to it."""
    case, device = result.case, result.device
    gpu = identify_gpu(device.name, device.sm) if device.kind == "gpu" else None
    printed = document().seconds(gpu.name, case.precision, case.model, case.batch) if gpu else None
    if not gpu or not printed:
        return ""
    ratio = "" if result.failure else f"; measured / published = {reported_latency(result) / printed:.2f}"
    return f"{_ms(printed)} on {gpu.title}{ratio}"


def _limit(result: Result) -> str:
    limit, share = limit_of(result), limit_share(result)
    reached = "" if share is None else f", {share:.1%} reached"
    return f"{_ms(limit.seconds)} by {limit.bound}{reached} ({limit.source})" if limit else ""


def _samples(result: Result) -> str:
    if not result.samples:
        return ""
    found = summarise(metric_seconds(result))
    parts = {"median": found.median, "mean": found.mean, "p90": found.p90, "p99": found.p99}
    parts |= {"fastest": found.minimum, "slowest": found.maximum}
    text = pairs_text({name: _ms(value) for name, value in parts.items()}, ", ")
    return f"{found.count}: {text}; standard deviation {found.spread:.1%} of the mean"


def _device(device: Device) -> str:
    memory = f"{device.memory / 2**30:.0f} GiB" if device.memory else ""
    return ", ".join(filter(None, [device_text(device), memory, f"SM{device.sm}" if device.sm else "", device.bus_id]))


def _outputs(check: GoldenCheck | None) -> str:
    if check is None:
        return "not checked"
    limit = f"limit {check.tolerance:.2g}"
    return f"error {check.error:.2g} of max |logit| against the golden sample ({limit}), {check.images} images"


def _gpu_state(state: GpuState) -> str:
    quantities = {
        "SM clock": (state.sm_clock, 1e6, "MHz"),
        "memory clock": (state.memory_clock, 1e6, "MHz"),
        "power": (state.power, 1.0, "W"),
        "temperature": (state.temperature, 1.0, "°C"),
    }
    spans = [
        f"{name} {span.low / unit:.0f} to {span.high / unit:.0f} {symbol}"
        for name, (span, unit, symbol) in quantities.items()
        if span
    ]
    reasons = [f"{reason} in {count} of {state.readings} readings" for reason, count in state.reasons.items()]
    return "; ".join(filter(None, [*spans, *reasons, state.error]))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"
