"""Which results a table or figure shows: those that its words name. A kind of word is a row of KINDS."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.errors import UsageError, unknown
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Device, Result
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import zoo
from trtzoo.report.published import BATCHES, PublishedCell, all_cells
from trtzoo.report.results import known_gpu
from trtzoo.runtimes.registry import AUTO, OFFERED

Row = TypeVar("Row", Result, Evaluation)


class Kind(NamedTuple):
    """`words` are all that a row is called, `known` the words that no row needs to have."""

    words: Callable[[Result | Evaluation], Iterable[str]]
    known: Callable[[], Iterable[str]]


def device_words(device: Device) -> set[str]:
    """Return what a device is called: cpu or gpu, the row of its GPU, its key, and the key's parts."""
    row = known_gpu(device)
    return {device.kind, device.key, *device.key.split("-"), *([row.name] if row else [])}


def _runtimes(row: Result | Evaluation) -> list[str]:
    return [row.case.runtime, *([AUTO] if row.selection_reason else [])] if isinstance(row, Result) else [row.runtime]


KINDS: Mapping[str, Kind] = {
    "model": Kind(lambda row: [row.subject.model.lower()], zoo),
    "device": Kind(lambda row: device_words(row.device), lambda: ["cpu", "gpu", *GPUS]),
    "runtime": Kind(_runtimes, lambda: [AUTO, *OFFERED]),
    "protocol": Kind(lambda row: [row.case.protocol] if isinstance(row, Result) else [], lambda: PROTOCOLS),
    "precision": Kind(lambda row: [row.case.precision if isinstance(row, Result) else row.precision], lambda: PRECISIONS),
    "batch": Kind(lambda row: [str(row.case.batch)] if isinstance(row, Result) else [], lambda: map(str, BATCHES)),
}


def read_filters(found: Iterable[Result | Evaluation], **texts: str | None) -> dict[str, list[str]]:
    """Return the words of each kind, of comma lists by kind; None names nothing.

    Raises UsageError, with the nearest word, for one that is neither known nor of any row.
    """
    rows, filters = list(found), {}
    for kind, text in texts.items():
        if text is None:
            continue
        words = [word.strip() for word in text.lower().split(",")]
        known = {*KINDS[kind].known(), *(word for row in rows for word in KINDS[kind].words(row))}
        for word in words:
            if not word:
                raise UsageError(f"--{kind} {text!r} has an empty item. Separate the values by single commas.")
            if word not in known:
                raise unknown(kind, word, dict.fromkeys([*KINDS[kind].known(), *sorted(known)]))
        filters[kind] = words
    return filters


def filtered(rows: Iterable[Row], filters: Mapping[str, list[str]]) -> list[Row]:
    """Return the rows that have one of the words of each kind. An evaluation has no protocol and may have any batch."""
    return [row for row in rows if all(_has(row, kind, words) for kind, words in filters.items())]


def filtered_published(filters: Mapping[str, list[str]]) -> list[PublishedCell]:
    """Return the published latencies that have one of the words of each kind; their runtime and protocol have no name."""

    def holds(cell: PublishedCell) -> bool:
        words = {"model": {cell.model}, "device": {"gpu", cell.gpu}, "precision": {cell.precision}, "batch": {str(cell.batch)}}
        return all(not words.get(kind, set()).isdisjoint(wanted) for kind, wanted in filters.items())

    return [cell for cell in all_cells() if holds(cell)]


def _has(row: Result | Evaluation, kind: str, words: list[str]) -> bool:
    if isinstance(row, Evaluation) and kind in ("protocol", "batch"):
        return True
    return not {*KINDS[kind].words(row)}.isdisjoint(words)
