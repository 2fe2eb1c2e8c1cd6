"""Cells as records, for programs: of each result, evaluation and published number. A field is a row of FIELDS."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trtzoo.accuracy.records import Evaluation
from trtzoo.core.records import SCHEMA, Result
from trtzoo.models.table import zoo
from trtzoo.report.page.rows import PageRow, measured, published
from trtzoo.report.published import PublishedCell, document
from trtzoo.report.results import condition_texts, device_text, family_of, pairs_text, weights_text
from trtzoo.report.roofline import limit_of
from trtzoo.report.tables.accuracy import whole
from trtzoo.report.tables.formats import json_text
from trtzoo.report.tables.model import Value
from trtzoo.report.verdict import Verdict


class Cell(NamedTuple):
    """What a record is about: a row of the page with its result, if it has one, or an evaluation."""

    row: PageRow | None
    result: Result | None = None
    evaluation: Evaluation | None = None

    @property
    def source(self) -> Result | Evaluation | None:
        return self.result or self.evaluation


def _row(field: str, unit: float = 1) -> Callable[[Cell], Value]:
    """The field of a row, times its unit."""

    def read(cell: Cell) -> Value:
        value = getattr(cell.row, field, None)
        return value * unit if isinstance(value, float) else value or None

    return read


def _result(read: Callable[[Result], Value]) -> Callable[[Cell], Value]:
    return lambda cell: read(cell.result) if cell.result else None


def _source(read: Callable[[Result | Evaluation], Value]) -> Callable[[Cell], Value]:
    return lambda cell: read(cell.source) if cell.source else None


def _score(top: str) -> Callable[[Cell], Value]:
    return lambda cell: getattr(cell.evaluation, top) / cell.evaluation.images if cell.evaluation else None


def _first(*reads: Callable[[Cell], Value]) -> Callable[[Cell], Value]:
    """The first value that is known."""
    return lambda cell: next((value for read in reads if (value := read(cell)) is not None), None)


FIELDS: dict[str, Callable[[Cell], Value]] = {
    "model": _first(_row("model"), _source(lambda row: row.subject.title)),
    "network": _first(_source(lambda row: row.subject.network or f"sha256 {row.subject.sha256[:8]}"), _row("model")),
    "family": _first(_row("family"), _source(lambda row: family_of(row.subject))),
    "precision": _first(_row("precision"), lambda cell: cell.evaluation.precision if cell.evaluation else None),
    "batch": _first(_row("batch"), lambda cell: cell.evaluation.batch if cell.evaluation else None),
    "device": _first(_row("device"), _source(lambda row: device_text(row.device))),
    "runtime": _first(_row("runtime"), lambda cell: cell.evaluation.runtime if cell.evaluation else None),
    "versions": _source(lambda row: pairs_text(row.versions, ", ")),
    "protocol": _result(lambda row: row.case.protocol),
    "conditions": _result(lambda row: ", ".join(condition_texts(row.case))),
    "io": _result(lambda row: row.io),
    "state": _first(_row("state"), lambda cell: "evaluated"),
    "latency_ms": _row("seconds", 1e3),
    "low_ms": _row("low", 1e3),
    "high_ms": _row("high", 1e3),
    "p99_ms": _row("p99", 1e3),
    "queries": _result(lambda row: len(row.samples)),
    "published_ms": _row("published", 1e3),
    "published_gpu": _row("gpu"),
    "ratio": _row("ratio"),
    "limit_ms": _result(lambda row: limit.seconds * 1e3 if (limit := limit_of(row)) else None),
    "share_of_limit": _row("share"),
    "top1": _first(_score("top1"), _row("top1")),
    "top5": _score("top5"),
    "top1_source": _first(
        lambda cell: "evaluated" if cell.evaluation or getattr(cell.row, "evaluated", False) else None,
        lambda cell: "published" if getattr(cell.row, "top1", None) else None,
    ),
    "images": lambda cell: cell.evaluation.images if cell.evaluation else None,
    "dataset": lambda cell: cell.evaluation.dataset if cell.evaluation else None,
    "weights": _source(lambda row: weights_text(row.weights)),
    "verdict": _row("verdict"),
    "marks": lambda cell: "; ".join(cell.row.marks) or None if cell.row else None,
    "note": _row("note"),
    "started": _source(lambda row: row.started),
}


def cell_records(
    results: Iterable[Result],
    evaluations: Sequence[Evaluation],
    printed: Iterable[PublishedCell],
    verdicts: Sequence[Verdict] = (),
) -> list[dict[str, Value]]:
    """Return a record of every result, evaluation and `printed` latency."""
    cells = [Cell(measured(result, evaluations, verdicts), result) for result in results]
    cells += [Cell(None, evaluation=row) for row in whole(evaluations)[0]]
    cells += [Cell(row) for row in published(printed)]
    return [{name: read(cell) for name, read in FIELDS.items()} for cell in cells]


def records_json(records: list[dict[str, Value]], skipped: Sequence[str]) -> str:
    """Return the schema's version, the records, the networks of the zoo, and the sentences about files that were skipped."""
    networks = [
        {
            "model": name,
            "network": row.network,
            "family": row.family,
            "flops": row.flops or None,
            "params": row.params or None,
            "published": document().models.get(row.network),
        }
        for name, row in zoo().items()
    ]
    return json_text({"schema": SCHEMA, "cells": records, "networks": networks, "skipped": skipped})
