"""Where a cell's number comes from: the file, and all it tells of device, versions, protocol, weights, samples and doubts."""

import re
from collections.abc import Callable

from trtzoo.benchmark.protocols import reported_latency
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.core.errors import StoreError, UsageError, unknown
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Case, Result
from trtzoo.core.statistics import interval
from trtzoo.hardware.gpus import identify_gpu
from trtzoo.models.table import MODELS
from trtzoo.report.provenance import facts
from trtzoo.report.published import document
from trtzoo.report.results import Found
from trtzoo.report.roofline import limit_of

EXAMPLE = "Example: --explain dpn131,fp16,b4"


def select(found: list[Found], text: str) -> list[Found]:
    """The results that every word of a comma list is said of, in any order.

    Words name a model, a precision, a batch (b4), a device (or cpu, gpu), a runtime, a protocol, or graph or plain. Raises
    UsageError for a word that is none of these, for two of one kind, and StoreError where all are known and nothing is meant.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"--explain {text!r} names no cell. {EXAMPLE}")
    kinds = [_kind(word, found) for word in words]
    for kind in ("model", "precision", "batch"):
        if kinds.count(kind) > 1:
            raise UsageError(f"--explain {text!r} names {kinds.count(kind)} {_plural(kind)}, and a cell has one. {EXAMPLE}")
    chosen = [row for row in found if all(_said_of(word, row.result) for word in words)]
    if not chosen:
        raise StoreError(
            f"Nothing was measured for {', '.join(words)}. To measure: {_command(dict(zip(kinds, words, strict=True)))}"
        )
    return chosen


def listing(found: list[Found]) -> list[str]:
    """A line a result, for a text that means several: the words that mean it alone."""
    return [",".join(_words(row.result)) for row in found]


def explain(found: Found) -> dict[str, str]:
    """All that is known of a result, by name, in words."""
    result = found.result
    told = {name: words for name, tell in TOLD.items() if (words := tell(result))}
    return {"File": str(found.path), "Cell": ",".join(_words(result)), **told, **dict(facts(result))}


def _latency(result: Result) -> str:
    if result.failure:
        return f"failed: {result.failure.kind}: {result.failure.reason}"
    known = interval([sample.total for sample in result.samples])
    told = f"{reported_latency(result) * 1e3:.3f} ms"
    return f"{told}; the median of whole queries is in [{known.low * 1e3:.3f}, {known.high * 1e3:.3f}]"


def _published(result: Result) -> str:
    """The printed number and the ratio to it, on the same GPU alone."""
    row = identify_gpu(result.device.name, result.device.sm) if result.device.kind == "gpu" else None
    printed = row and document().seconds(row.name, result.case.precision, result.case.model, result.case.batch)
    if not row or not printed:
        return ""
    ratio = "" if result.failure else f"; measured / published = {reported_latency(result) / printed:.2f}"
    return f"{printed * 1e3:.3f} ms on {row.title}{ratio}"


def _limit(result: Result) -> str:
    limit = limit_of(result)
    if limit is None:
        return ""
    reached = "" if result.failure else f", {limit.seconds / reported_latency(result):.1%} reached"
    return f"{limit.seconds * 1e3:.3f} ms by {limit.bound}{reached} ({limit.source})"


TOLD: dict[str, Callable[[Result], str]] = {
    "Latency": _latency,
    "Published": _published,
    "Limit": _limit,
    "Doubts": lambda result: warning_sentence(result) or ("" if result.failure else "none"),
}


def _kind(word: str, found: list[Found]) -> str:
    """What a word names. Raises UsageError, with the nearest name, for one that names nothing."""
    others = {name for row in found for name in (*_words(row.result)[3:], row.result.device.kind)}
    if _batch(word):
        return "batch"
    for kind, known in (("model", MODELS), ("precision", PRECISIONS)):
        if word in known:
            return kind
    if word in others or any(word in row.result.device.key.split("-") for row in found):
        return "other"
    raise unknown("part of a cell", word, [*MODELS, *PRECISIONS, "b1", "b4", "b8", *sorted(others)])


def _batch(word: str) -> int:
    """The batch that a word names, "b4" or "4"; 0 for any other word, as the 4090 of a GPU's name."""
    found = re.fullmatch(r"b?([1-9][0-9]{0,3})", word)
    return int(found[1]) if found and int(found[1]) <= 1024 else 0


def _said_of(word: str, result: Result) -> bool:
    if batch := _batch(word):
        return result.case.batch == batch
    return word in (*_words(result), result.device.kind, *result.device.key.split("-"))


def _words(result: Result) -> list[str]:
    case: Case = result.case
    graph = {None: [], True: ["graph"], False: ["plain"]}[case.cuda_graph]
    return [case.model, case.precision, f"b{case.batch}", result.device.key, case.runtime, case.protocol, *graph]


def _plural(kind: str) -> str:
    return "batches" if kind == "batch" else f"{kind}s"


def _command(words: dict[str, str]) -> str:
    parts = ["trtzoo bench", words.get("model", "--all")]
    if "precision" in words:
        parts.append(f"--precision {words['precision']}")
    if "batch" in words:
        parts.append(f"--batch {words['batch'].removeprefix('b')}")
    return " ".join(parts)
