"""Accuracy tables: published accuracy, exact counts, and accuracy evaluated here.

A column is a row of ACCURACY_COLUMNS or EVALUATION_COLUMNS.
"""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.core.statistics import proportion
from trtzoo.models.table import MODELS, Model
from trtzoo.report.published import Published, document
from trtzoo.report.results import device_text, pairs_text, weights_text
from trtzoo.report.tables.model import Column, Table, caption, make_table


class ModelRow(msgspec.Struct, frozen=True):
    """One model with its published numbers and its evaluation, as far as there are any."""

    model: Model
    published: Published | None
    evaluation: Evaluation | None = None
    note: str = ""

    def printed(self, field: str) -> float | None:
        return getattr(self.published, field, None)

    def ratio(self, exact: float, field: str) -> float | None:
        return exact / printed if (printed := self.printed(field)) else None

    def score(self, top: str) -> tuple[float | None, ...]:
        """Return the measured accuracy `top`, top1 or top5; its difference to the published; half of its 95 % interval."""
        if not self.evaluation:
            return None, None, None
        right, images, printed = getattr(self.evaluation, top), self.evaluation.images, self.printed(top)
        low, high = proportion(right, images)
        return right / images, None if printed is None else right / images - printed, (high - low) / 2


MODEL = Column[ModelRow]("Model", lambda row: row.model.name)
ACCURACY_COLUMNS: tuple[Column[ModelRow], ...] = (
    MODEL,
    Column("Top1", lambda row: row.printed("top1"), "{:.3f}"),
    Column("Top5", lambda row: row.printed("top5"), "{:.3f}"),
    Column("Ref. top1", lambda row: row.printed("reference_top1"), "{:.3f}"),
    Column("Ref. top5", lambda row: row.printed("reference_top5"), "{:.3f}"),
    Column("FLOPs (G) published", lambda row: row.printed("gflops"), "{:.2f}"),
    Column("FLOPs (G) exact", lambda row: row.model.flops / 1e9, "{:.2f}"),
    Column("FLOPs ratio", lambda row: row.ratio(row.model.flops / 1e9, "gflops"), "{:.2f}"),
    Column("Params (M) published", lambda row: row.printed("mparams"), "{:.2f}"),
    Column("Params (M) exact", lambda row: row.model.params / 1e6, "{:.2f}"),
    Column("Params ratio", lambda row: row.ratio(row.model.params / 1e6, "mparams"), "{:.2f}"),
)


def _evaluated(title: str, top: str) -> tuple[Column[ModelRow], ...]:
    return (
        Column(f"{title} published", lambda row: row.printed(top), "{:.3f}"),
        Column(f"{title} measured", lambda row: row.score(top)[0], "{:.4f}", lambda row: row.note),
        Column(f"{title} difference", lambda row: row.score(top)[1], "{:+.4f}"),
        Column(f"{title} ±", lambda row: row.score(top)[2], "{:.4f}"),
    )


EVALUATION_COLUMNS = (
    MODEL,
    *_evaluated("Top1", "top1"),
    *_evaluated("Top5", "top5"),
    Column("Images", lambda row: row.evaluation.images if row.evaluation else None),
)


def accuracy_table() -> Table:
    """Make the table of accuracy, FLOPs and parameters: as published, and counted exactly."""
    rows = [ModelRow(model, document().models.get(name)) for name, model in MODELS.items()]
    return make_table("Accuracy, FLOPs and parameters", ACCURACY_COLUMNS, rows, map(caption, ("accuracies", "counts")))


def comparable(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Return the evaluations of known networks with the published classes and image size."""
    return [row for row in evaluations if (row.classes, row.size) == (1000, 224) and row.model in MODELS and row.images]


def evaluation_tables(evaluations: Iterable[Evaluation]) -> list[Table]:
    """Make a table of measured and published accuracy for each device, runtime, precision and data set.

    Evaluations with other classes or another image size than the published ones are left out.
    """

    def key(row: Evaluation) -> tuple[str, ...]:
        return (row.device.key, row.runtime, row.precision, row.fingerprint)

    same = sorted(comparable(evaluations), key=key)
    return [_evaluation_table(list(members)) for _, members in groupby(same, key=key)]


def _evaluation_table(members: list[Evaluation]) -> Table:
    first, newest = members[0], {row.model: row for row in sorted(members, key=lambda row: row.started)}
    sources = {weights_text(row.weights) for row in members}
    rows = []
    for name, model in MODELS.items():
        parts = []
        if evaluation := newest.get(name):
            parts = [weights_text(evaluation.weights)] if len(sources) > 1 else []
            bad, odd = len(evaluation.bad), evaluation.not_finite
            parts += [f"{bad} of the images could not be read and are not counted"] if bad else []
            parts += [f"{odd} of the images gave logits that are not numbers"] if odd else []
        rows.append(ModelRow(model, document().models.get(name), evaluation, "; ".join(parts)))
    facts = [device_text(first.device), pairs_text(first.versions), *(sources if len(sources) == 1 else [])]
    evaluated = caption("evaluated", facts="; ".join(filter(None, facts)), row=first)
    title = f"Accuracy, {first.precision.upper()}, on {first.device.title}, {first.runtime}"
    return make_table(title, EVALUATION_COLUMNS, rows, (evaluated, caption("differences")))
