"""Explain a number: find its result by words, and show the file's facts. A fact is a row in explain()."""

import re
from collections.abc import Iterable, Sequence

from trtzoo.benchmark.protocols import PROTOCOLS, reported
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.errors import StoreError, UsageError, unknown
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import MAX_BATCH, GpuState, LayerTime, Opening, Result
from trtzoo.core.statistics import summarise
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS, zoo
from trtzoo.report.audit import findings
from trtzoo.report.published import PublishedCell, all_cells, document
from trtzoo.report.results import (
    Found,
    device_text,
    gpu_settings_facts,
    known_gpu,
    pairs_text,
    protocol_text,
    ratio_to_published,
    weights_text,
)
from trtzoo.report.roofline import limit_doubt, limit_of, limit_of_published, limit_share
from trtzoo.report.verdict import Verdict, verdict_of, verdict_text

SHOWN_LAYERS = 5
PUBLISHED = "published"  # the word for a published latency
EXAMPLE = "Example: --explain dpn131,fp16,b4"


def select(found: list[Found], text: str) -> list[Found]:
    """Return the results that match every word of a comma list, in any order.

    Words name a model, a precision, a batch (b4 or 4), a device (or cpu, gpu), a runtime, a protocol, or a condition (graph,
    plain, block, flush). Raises UsageError for an unknown word or two words of one kind, StoreError if no result matches.
    """
    names = dict.fromkeys([*zoo(), *(row.result.case.model.lower() for row in found)], "model")
    kinds = {**names, **dict.fromkeys(PRECISIONS, "precision")}
    kinds |= {f"b{batch}": "batch" for batch in range(1, 1025)}
    words = _split(text)
    if not words:
        raise UsageError(f"--explain {text!r} names no cell. {EXAMPLE}")
    others = {name for row in found for name in (*_words(row.result)[3:], row.result.device.kind)}
    parts = {part for row in found for part in row.result.device.key.split("-")}
    for word in words:
        if word not in {*kinds, *others, *parts, *GPUS, "cpu", "gpu", PUBLISHED}:
            raise unknown("part of a cell", word, [*zoo(), *PRECISIONS, "b1", "b4", "b8", *sorted(others)])
    named = {kind: [word for word in words if kinds.get(word) == kind] for kind in ("model", "precision", "batch")}
    for kind, several in named.items():
        if len(several) > 1:
            plural = "batches" if kind == "batch" else f"{kind}s"
            raise UsageError(f"--explain {text!r} names {len(several)} {plural}, and a cell has one. {EXAMPLE}")
    chosen = []
    for row in found:
        device = row.result.device
        if {*map(str.lower, _words(row.result)), device.kind, *device.key.split("-")}.issuperset(words):
            chosen.append(row)
    if not chosen:
        command = ["trtzoo bench", *(named["model"] or ["--all"])]
        command += [f"--precision {word}" for word in named["precision"]]
        command += [f"--batch {word.removeprefix('b')}" for word in named["batch"]]
        command += [f"--gpu {word}" for word in words if word in GPUS]
        raise StoreError(f"Nothing was measured for {', '.join(words)}. To measure: {' '.join(command)}")
    return chosen


def _split(text: str) -> list[str]:
    """Return the words of a comma list; a bare number is a batch."""
    words = [word.strip() for word in text.lower().split(",") if word.strip()]
    return [f"b{word}" if re.fullmatch("[1-9][0-9]{0,3}", word) and int(word) <= MAX_BATCH else word for word in words]


def select_published(text: str) -> list[PublishedCell]:
    """Return the published latencies that match every word of a comma list; "published" is one."""
    words = _split(text)
    return [cell for cell in all_cells() if {*_published_words(cell), "gpu"}.issuperset(words)]


def _published_words(cell: PublishedCell) -> list[str]:
    return [cell.model, cell.precision, f"b{cell.batch}", cell.gpu, PUBLISHED]


def explain_published(cell: PublishedCell) -> dict[str, str]:
    """Return everything that is known of a published latency, by name, in words."""
    source, row, limit = document().source, document().models[cell.model], None
    limit = limit_of_published(cell.gpu, MODELS[cell.model], cell.precision, cell.batch)
    doubts = [f"{each.claim} {each.evidence}" for each in findings() if each.subject.split(",")[0] == cell.model]
    facts = {
        "Cell": ",".join(_published_words(cell)),
        "Network": cell.model,
        "Published": f"{_ms(cell.seconds)} on {GPUS[cell.gpu].title}",
        "Source": f"{source.name}, {source.document}",
        "Protocol": f"the publisher's, as far as known: {PROTOCOLS['paddle2020'].note}",
        "Accuracy": f"top-1 {row.top1:.3f}, top-5 {row.top5:.3f}",
        "Limit": f"{_ms(limit.seconds)} by {limit.bound}, {limit.seconds / cell.seconds:.1%} reached" if limit else "",
        "Audit": " ".join(doubts),
        "To measure": f"trtzoo bench {cell.model} --precision {cell.precision} --batch {cell.batch} --gpu {cell.gpu}",
    }
    return {name: text for name, text in facts.items() if text}


def listing(found: list[Found]) -> list[str]:
    """For each result, the text that selects only that result."""
    return [",".join(_words(row.result)) for row in found]


def _words(result: Result) -> list[str]:
    case, tags = result.case, [result.case.form, result.subject.tag]
    cell = [case.model, case.precision, f"b{case.batch}", result.device.key, case.runtime, case.protocol, *case.conditions]
    return [*cell, *filter(None, tags)]


def explain(found: Found, verdicts: Iterable[Verdict] = ()) -> dict[str, str]:
    """Return everything that is known of a result, by name, in words. A fact without text is left out."""
    result, device, weights, check = found.result, found.result.device, found.result.weights, found.result.check
    memory, compute = f"{device.memory / 2**30:.0f} GiB" if device.memory else "", f"SM{device.sm}" if device.sm else ""
    cores = f"of {result.available_cores} cores" if result.available_cores else "cores"
    outputs = "not checked"
    if check:
        outputs = f"error {check.error:.2g} of max |logit| against the golden sample (limit {check.tolerance:.2g})"
        outputs += f", {check.images} images"
    facts = {
        "File": str(found.path),
        "Cell": ",".join(_words(result)),
        "Network": result.subject.title,
        **_latency(result),
        "Protocol": protocol_text(result.case.protocol),
        "Device": ", ".join(filter(None, [device_text(device), memory, compute, device.bus_id, device.uuid])),
        "Versions": pairs_text(result.versions, ", "),
        "Chosen": result.selection_reason,
        "Settings": pairs_text(result.settings, ", "),
        "Threads": str(result.threads or ""),
        "Input and output": result.io.upper(),
        "Weights": f"{weights_text(weights)}, from {weights.origin}; BN epsilon {weights.epsilon:g}" if weights else "unknown",
        "Why seeded": weights.fallback if weights else "",
        "Weights' sha256": weights.sha256 if weights else "",
        "File run, sha256": result.artifact_sha256,
        "Outputs": outputs,
        "Measured": result.started,
        "Opening took": f"{result.load:.2f} s" if result.load else "",
        **(_opening(result.opening) if result.opening else {}),
        **_verdict(verdict_of(result, verdicts)),
        "Slowest layers": _layers(result.layers),
        "Other programs": f"{result.other_load:.2f} {cores}",
        "GPU settings": pairs_text(gpu_settings_facts(result.gpu_settings), "; "),
        "GPU meanwhile": _gpu_state(result.gpu_state or GpuState()),
    }
    return {name: text for name, text in facts.items() if text}


def _latency(result: Result) -> dict[str, str]:
    """Return what is known of the latency: measured, published on the same GPU, possible, and its samples."""
    case, failure = result.case, result.failure
    facts = {"Latency": f"failed: {failure.kind}: {failure.reason}" if failure else ""}
    gpu, ratio = known_gpu(result.device), ratio_to_published(result)
    model = result.subject.model if result.subject.published else ""
    if gpu and (printed := document().seconds(gpu.name, case.precision, model, case.batch)):
        facts["Published"] = f"{_ms(printed)} on {gpu.title}"
        facts["Published"] += f"; measured / published = {ratio:.2f}" if ratio else ""
    if limit := limit_of(result):
        share = limit_share(result)
        reached = "" if share is None else f", {share:.1%} reached"
        facts["Limit"] = f"{_ms(limit.seconds)} by {limit.bound}{reached} ({limit.source})"
        facts["Limit"] += f"; {doubt}" if (doubt := limit_doubt(result)) else ""
    if failure:
        return facts
    found = reported(result)
    row, reach = summarise(found.samples), f"95 % interval of the {found.statistic}: {_ms(found.low)} to {_ms(found.high)}"
    facts |= {"Latency": f"{_ms(found.latency)}; {reach}", "Doubts": warning_sentence(result) or "none"}
    parts = {"median": row.median, "mean": row.mean, "p90": row.p90, "p99": row.p99}
    parts |= {"fastest": row.minimum, "slowest": row.maximum}
    text = pairs_text({name: _ms(value) for name, value in parts.items()}, ", ")
    return facts | {"Samples": f"{row.count}: {text}; standard deviation {row.spread:.1%} of the mean"}


def _verdict(verdict: Verdict | None) -> dict[str, str]:
    """Return whether the precision pays beside FP32, why, and on what images."""
    if verdict is None:
        return {}
    accuracy, runs = verdict.accuracy, len(verdict.after.runs)
    images = f"{accuracy.metrics.images} photographs of {accuracy.dataset}" if accuracy.dataset else "the golden sample"
    turns = f"{runs} runs of each file{' in turns' if verdict.interleaved else ''}"
    images += f", fingerprint {accuracy.fingerprint[:12]}" if accuracy.fingerprint else ""
    reasons = "; ".join(verdict.judgement.reasons)
    return {"Pays": f"{verdict_text(verdict)}: {reasons}", "Judged": f"{verdict.started}, {turns}, {images}"}


def _opening(opening: Opening) -> dict[str, str]:
    """Return what opening an engine took. TensorRT-RTX compiles kernels in making the context."""
    parts = {"deserialise": opening.deserialisation, "make the context": opening.context}
    if opening.compilation is not None:
        parts["make it without kept kernels"] = opening.compilation
    parts["first inference"] = opening.first_inference
    sizes = {"engine": opening.engine_size, "context": opening.context_memory}
    return {
        "Cold start": pairs_text({name: _ms(seconds) for name, seconds in parts.items()}, ", "),
        "Memory": pairs_text({name: f"{size / 2**20:.1f} MiB" for name, size in sizes.items()}, ", "),
        "TensorRT warned": "; ".join(opening.notes),
    }


def _layers(layers: Sequence[LayerTime]) -> str:
    """Name the slowest layers with their shares of the time of all."""
    total = sum(layer.seconds for layer in layers)
    if not total:
        return ""
    slowest = sorted(layers, key=lambda layer: -layer.seconds)[:SHOWN_LAYERS]
    shares = pairs_text({layer.name: f"{_ms(layer.seconds)} ({layer.seconds / total:.1%})" for layer in slowest}, ", ")
    return f"{shares}; all {len(layers)} take {_ms(total)}"


def _gpu_state(state: GpuState) -> str:
    quantities = (
        ("SM clock", state.sm_clock, 1e6, "MHz"),
        ("memory clock", state.memory_clock, 1e6, "MHz"),
        ("power", state.power, 1.0, "W"),
        ("temperature", state.temperature, 1.0, "°C"),
        ("memory of all processes", state.memory, 2**20, "MiB"),
    )
    parts = [f"{name} {span.low / unit:.0f} to {span.high / unit:.0f} {sign}" for name, span, unit, sign in quantities if span]
    parts += [f"{reason} in {count} of {state.readings} readings" for reason, count in state.reasons.items()]
    return "; ".join(filter(None, [*parts, state.error]))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"
