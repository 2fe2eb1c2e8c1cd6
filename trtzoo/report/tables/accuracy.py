"""The accuracy tables: published accuracy, exact counts, and what was evaluated here."""

from collections.abc import Callable, Iterable
from itertools import groupby

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.core.statistics import proportion
from trtzoo.models.table import MODELS, Model
from trtzoo.report.published import Published, document
from trtzoo.report.tables.model import DASH, Cell, Table, note
from trtzoo.report.wording import device_text, weights_text


class AccuracyColumn(msgspec.Struct, frozen=True):
    """A column of the accuracy table: its value for a model and its published row, if it has one, and the format."""

    name: str
    value: Callable[[Model, Published | None], float | None]
    form: str = "{:.3f}"


def _published(field: str) -> Callable[[Model, Published | None], float | None]:
    """A number of the published row."""
    return lambda model, row: getattr(row, field, None)


ACCURACY = (
    AccuracyColumn("Top1", _published("top1")),
    AccuracyColumn("Top5", _published("top5")),
    AccuracyColumn("Ref. top1", _published("reference_top1")),
    AccuracyColumn("Ref. top5", _published("reference_top5")),
    AccuracyColumn("FLOPs (G) published", _published("gflops"), "{:.2f}"),
    AccuracyColumn("FLOPs (G) exact", lambda model, row: model.flops / 1e9, "{:.2f}"),
    AccuracyColumn("FLOPs ratio", lambda model, row: model.flops / 1e9 / row.gflops if row else None, "{:.2f}"),
    AccuracyColumn("Params (M) published", _published("mparams"), "{:.2f}"),
    AccuracyColumn("Params (M) exact", lambda model, row: model.params / 1e6, "{:.2f}"),
    AccuracyColumn("Params ratio", lambda model, row: model.params / 1e6 / row.mparams if row else None, "{:.2f}"),
)


WHY_COUNTS_DIFFER = (
    "Accuracies are the publisher's (ImageNet-1k validation, crop 224). Exact FLOPs are 2 x multiply-accumulates of "
    "convolutions and classifier; exact parameters leave out BN statistics. Ratios are exact / published.",
    "The published counts are those of a 2019 counter that divides a grouped convolution's width by its groups twice (so "
    "most of DPN's grouped 3x3 count as nothing), counts a ReLU as negative FLOPs and the classifier's as one a "
    "multiply-accumulate. It gives 18 of the 20 printed figures; densenet264's 33.37 M (it gives 33.34) and dpn98's "
    "58.46 M (58.47) look like slips of the hand. To count again: trtzoo models --count",
)


def accuracy_table(models: Iterable[str] = MODELS) -> Table:
    """Accuracy, FLOPs and parameters: as published, and as counted exactly."""
    rows = []
    for name in models:
        values = [(column, column.value(MODELS[name], document().models.get(name))) for column in ACCURACY]
        cells = [Cell(value, DASH if value is None else column.form.format(value)) for column, value in values]
        rows.append((Cell(name, name), *cells))
    columns = ("Model", *(column.name for column in ACCURACY))
    return Table("Accuracy, FLOPs and parameters", columns, tuple(rows), WHY_COUNTS_DIFFER)


def evaluation_tables(evaluations: Iterable[Evaluation], models: Iterable[str] = MODELS) -> list[Table]:
    """For each device, runtime, precision and data set the accuracies measured, beside the published ones.

    Evaluations of other classes or image sizes than the published are left out.
    """

    def key(row: Evaluation) -> tuple[str, ...]:
        return (row.device.key, row.runtime, row.precision, row.fingerprint)

    names = tuple(models)
    same = (row for row in evaluations if (row.classes, row.size) == (1000, 224) and row.model in names and row.images)
    known = sorted(same, key=key)
    return [_evaluation_table(list(members), names) for _, members in groupby(known, key=key)]


EVALUATED = ("published", "measured", "difference", "±")


def _evaluation_table(members: list[Evaluation], models: tuple[str, ...]) -> Table:
    first, here = members[0], {row.model: row for row in sorted(members, key=lambda row: row.started)}
    notes: list[str] = []
    sources = {row.model: weights_text(row.weights) for row in members}
    shared = next(iter(sources.values())) if len(set(sources.values())) == 1 else ""
    rows = []
    for model in models:
        row, printed = here.get(model), document().models.get(model)
        facts = [*([] if shared or not row else [sources[model]]), _unread(row)]
        mark = note("; ".join(filter(None, facts)), notes)
        top = [*_accuracy(row, "top1", printed, mark), *_accuracy(row, "top5", printed, mark)]
        rows.append((Cell(model, model), *top, Cell(row.images, str(row.images)) if row else Cell(None)))
    columns = ("Model", *(f"{top} {name}" for top in ("Top1", "Top5") for name in EVALUATED), "Images")
    how = [device_text(first.device), " ".join(f"{name} {version}" for name, version in first.versions.items()), shared]
    caption = (
        f"Measured: {'; '.join(filter(None, how))}; data set {first.dataset}, fingerprint {first.fingerprint}.",
        "Differences are measured - published; ± is half of the 95 % interval that so many images give (Wilson).",
    )
    title = f"Accuracy, {first.precision.upper()}, on {first.device.name}, {first.runtime}"
    return Table(title, columns, tuple(rows), caption, tuple(notes))


def _accuracy(row: Evaluation | None, name: str, document: Published | None, mark: str) -> list[Cell]:
    """The cells of EVALUATED."""
    printed: float | None = getattr(document, name, None)
    told = Cell(None) if printed is None else Cell(printed, f"{printed:.3f}")
    if row is None:
        return [told, Cell(None), Cell(None), Cell(None)]
    found, (low, high) = getattr(row, name) / row.images, proportion(getattr(row, name), row.images)
    half = (high - low) / 2
    difference = Cell(None) if printed is None else Cell(found - printed, f"{found - printed:+.4f}")
    return [told, Cell(found, f"{found:.4f}", mark), difference, Cell(half, f"{half:.4f}")]


def _unread(row: Evaluation | None) -> str:
    """What is to be known of some of the images."""
    told = (
        {"could not be read and are not counted": len(row.bad), "gave logits that are no numbers": row.not_finite}
        if row
        else {}
    )
    return "; ".join(f"{count} of the images {what}" for what, count in told.items() if count)
