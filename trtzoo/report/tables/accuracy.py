"""Accuracy tables: published accuracy, exact counts, and accuracy evaluated here.

A column is a row of ACCURACY_COLUMNS or EVALUATION_COLUMNS.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.core.records import Identity
from trtzoo.core.statistics import proportion
from trtzoo.models.table import Model, zoo
from trtzoo.report.published import Published, document
from trtzoo.report.results import device_text, pairs_text, place, weights_text, zoo_row
from trtzoo.report.roofline import Work, work_of
from trtzoo.report.tables.model import Column, Table, caption, make_table


class ModelRow(msgspec.Struct, frozen=True):
    """One network with its published numbers, its FLOPs and parameters and its evaluation, as far as there are any."""

    name: str
    model: Model | Work | None
    published: Published | None
    evaluation: Evaluation | None = None
    note: str = ""

    def printed(self, field: str) -> float | None:
        return getattr(self.published, field, None)

    def count(self, field: str, unit: float) -> float | None:
        return getattr(self.model, field) / unit if self.model and getattr(self.model, field) else None

    def ratio(self, exact: float | None, field: str) -> float | None:
        return exact / printed if exact and (printed := self.printed(field)) else None

    def score(self, top: str) -> tuple[float | None, ...]:
        """Return the measured accuracy `top`, top1 or top5; its difference to the published; half of its 95 % interval."""
        if not self.evaluation:
            return None, None, None
        right, images, printed = getattr(self.evaluation, top), self.evaluation.images, self.printed(top)
        low, high = proportion(right, images)
        return right / images, None if printed is None else right / images - printed, (high - low) / 2


MODEL = Column[ModelRow]("Model", lambda row: row.name)
ACCURACY_COLUMNS: tuple[Column[ModelRow], ...] = (
    MODEL,
    Column("Top1", lambda row: row.printed("top1"), "{:.3f}"),
    Column("Top5", lambda row: row.printed("top5"), "{:.3f}"),
    Column("Ref. top1", lambda row: row.printed("reference_top1"), "{:.3f}"),
    Column("Ref. top5", lambda row: row.printed("reference_top5"), "{:.3f}"),
    Column("FLOPs (G) published", lambda row: row.printed("gflops"), "{:.2f}"),
    Column("FLOPs (G) exact", lambda row: row.count("flops", 1e9), "{:.2f}"),
    Column("FLOPs ratio", lambda row: row.ratio(row.count("flops", 1e9), "gflops"), "{:.2f}"),
    Column("Params (M) published", lambda row: row.printed("mparams"), "{:.2f}"),
    Column("Params (M) exact", lambda row: row.count("params", 1e6), "{:.2f}"),
    Column("Params ratio", lambda row: row.ratio(row.count("params", 1e6), "mparams"), "{:.2f}"),
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


def accuracy_table(subjects: Iterable[Identity] | None = None) -> Table:
    """Make the table of accuracy, FLOPs and parameters, published and exact: of the zoo, or of these networks only."""
    rows = [ModelRow(name, model, document().models.get(model.network)) for name, model in zoo().items()]
    if subjects is not None:
        distinct = sorted({each.title: each for each in subjects}.values(), key=place)
        printed = {each.title: document().models.get(each.network) for each in distinct if each.published}
        rows = [ModelRow(each.title, work_of(each), printed.get(each.title)) for each in distinct]
    captions = ("accuracies", "counts") if any(row.published for row in rows) else ("exact",)
    return make_table("Accuracy, FLOPs and parameters", ACCURACY_COLUMNS, rows, map(caption, captions))


def comparable(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Return the evaluations that compare with the published accuracy: of a model in the published form, not of own weights."""
    return [row for row in evaluations if row.subject.published and not row.weights.is_local and row.images]


def whole(evaluations: Iterable[Evaluation]) -> tuple[list[Evaluation], int]:
    """Return the newest evaluation of each network, weights and images, and how many limited ones are left out.

    An evaluation of a limited number of images is left out if there is one of the whole data set.
    """

    def key(row: Evaluation) -> tuple[object, ...]:
        return (row.device.key, row.runtime, row.precision, row.dataset, row.subject.row, row.subject.tag)

    rows = [row for row in evaluations if row.images]
    complete = {key(row) for row in rows if row.limit is None}
    kept = [row for row in rows if row.limit is None or key(row) not in complete]
    newest = {(key(row), row.fingerprint): row for row in sorted(kept, key=lambda row: row.started)}
    return list(newest.values()), len(rows) - len(kept)


def evaluation_tables(evaluations: Iterable[Evaluation]) -> list[Table]:
    """Make a table of measured and published accuracy for each device, runtime, precision and data set."""

    def key(row: Evaluation) -> tuple[str, ...]:
        return (row.device.key, row.runtime, row.precision, row.fingerprint)

    kept, left_out = whole(evaluations)
    tables = [_evaluation_table(list(members)) for _, members in groupby(sorted(kept, key=key), key=key)]
    if left_out and tables:
        note = caption("limited", count=left_out)
        tables[-1] = msgspec.structs.replace(tables[-1], caption=(*tables[-1].caption, note))
    return tables


def _evaluation_table(members: list[Evaluation]) -> Table:
    first = members[0]
    members.sort(key=lambda row: (place(row.subject), row.started))
    sources, titles = {weights_text(row.weights) for row in members}, Counter(row.subject.title for row in members)
    published = {row.name for row in comparable(members)}
    rows = []
    for evaluation in members:
        subject, bad, odd = evaluation.subject, len(evaluation.bad), evaluation.not_finite
        parts = [weights_text(evaluation.weights)] if len(sources) > 1 else []
        parts += [f"{bad} of the images could not be read and are not counted"] if bad else []
        parts += [f"{odd} of the images gave logits that are not numbers"] if odd else []
        printed = document().models.get(subject.model) if evaluation.name in published else None
        name = f"{subject.title} [{subject.tag}]" if titles[subject.title] > 1 and subject.tag else subject.title
        rows.append(ModelRow(name, zoo_row(subject), printed, evaluation, "; ".join(parts)))
    facts = [device_text(first.device), pairs_text(first.versions), *(sources if len(sources) == 1 else [])]
    evaluated = caption("evaluated", facts="; ".join(filter(None, facts)), row=first)
    title = f"Accuracy, {first.precision.upper()}, on {first.device.title}, {first.runtime}"
    return make_table(title, EVALUATION_COLUMNS, rows, (evaluated, caption("differences")))
