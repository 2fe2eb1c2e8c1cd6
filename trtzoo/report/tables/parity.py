"""The verdicts of a parity check as a table; a column only where it tells something."""

import math
from collections.abc import Callable

import msgspec

from trtzoo.report.tables.model import Cell, Table
from trtzoo.verification.tolerances import MIN_TOP1_KEPT, TOLERANCES, Divergence, LabelledOutcome, PairedMetrics, ParityVerdict

Value = float | str | None


class ParityColumn(msgspec.Struct, frozen=True):
    """What it holds for an engine, and how that is printed."""

    name: str
    value: Callable[[ParityVerdict], Value]
    form: str = "{}"


def _of(read: Callable[[PairedMetrics], Value]) -> Callable[[ParityVerdict], Value]:
    return lambda row: None if row.metrics is None else read(row.metrics)


def _known(read: Callable[[LabelledOutcome], Value]) -> Callable[[ParityVerdict], Value]:
    return _of(lambda found: None if found.labelled is None else read(found.labelled))


WHO = (
    ParityColumn("Model", lambda row: row.model),
    ParityColumn("prec.", lambda row: row.precision),
    ParityColumn("batch", lambda row: row.batch),
    ParityColumn("runtime", lambda row: row.runtime),
)
VERDICT = ParityColumn("verdict", lambda row: "FAILS" if row.reasons else "passes")
LOGITS = (
    *WHO,
    VERDICT,
    ParityColumn("max error", _of(lambda found: found.error), "{:.1e}"),
    ParityColumn("RMS error", _of(lambda found: found.rms), "{:.1e}"),
    ParityColumn("least cosine", _of(lambda found: found.cosine), "{:.6f}"),
    ParityColumn("worst image", lambda row: row.worst or None),
)
CLASSES = (
    *WHO,
    ParityColumn("images", _of(lambda found: found.images)),
    ParityColumn("same top-1", _of(lambda found: found.same_top1 / found.images), "{:.2%}"),
    ParityColumn("same top-5", _of(lambda found: found.same_top5 / found.images), "{:.2%}"),
    ParityColumn("flips", _of(lambda found: found.flips)),
    ParityColumn("margin", _of(lambda found: found.margin if found.flips else None), "{:.1e}"),
    ParityColumn("ref. right", _known(lambda found: found.reference)),
    ParityColumn("right", _known(lambda found: found.engine)),
    ParityColumn("lost", _known(lambda found: found.lost)),
    ParityColumn("won", _known(lambda found: found.won)),
    ParityColumn("p", _known(lambda found: found.p), "{:.2g}"),
)

MEANING = (
    "Flips are the images with another class, margin is the most by which the reference preferred its own at one of them, "
    "relative to max|logit|."
)
LABELLED = "Lost were right in the reference alone, won in the engine alone; p is McNemar's exact test of that split."


def tables(verdicts: list[ParityVerdict], images: str) -> list[Table]:
    """Logits, and then classes. `images` says what was looked at. What an engine failed in is a note at its verdict."""
    notes = [f"{row.title}: {'; '.join(row.reasons)}." for row in verdicts if row.reasons]
    logits = _table("Parity with the PyTorch reference: logits", LOGITS, verdicts, _caption(verdicts, images), notes)
    compared = [row for row in verdicts if row.metrics]
    if not compared:
        return [logits]
    labelled = any(row.metrics and row.metrics.labelled for row in compared)
    meaning = (MEANING, *([LABELLED] if labelled else []))
    return [logits, _table("Parity with the PyTorch reference: classes", CLASSES, compared, meaning, [])]


def _table(
    title: str, columns: tuple[ParityColumn, ...], verdicts: list[ParityVerdict], caption: tuple[str, ...], notes: list[str]
) -> Table:
    """A column only where it holds something, and the runtime's where there are several."""
    several = len({row.runtime for row in verdicts}) > 1
    shown = [
        column
        for column in columns
        if any(column.value(row) is not None for row in verdicts) and (several or column.name != "runtime")
    ]
    numbers = iter(range(1, len(notes) + 1))
    rows = []
    for row in verdicts:
        mark = f"[{next(numbers)}]" if notes and row.reasons else ""
        rows.append(tuple(_cell(column, column.value(row), mark if column is VERDICT else "") for column in shown))
    return Table(title, tuple(column.name for column in shown), tuple(rows), caption, tuple(notes))


def _cell(column: ParityColumn, value: Value, mark: str) -> Cell:
    return Cell(None) if value is None else Cell(value, column.form.format(value), mark)


def _caption(verdicts: list[ParityVerdict], images: str) -> tuple[str, ...]:
    kinds = dict.fromkeys(row.precision for row in verdicts)
    limits = [f"{name} {TOLERANCES[name].error:.1e} and RMS {TOLERANCES[name].rms:.1e}" for name in kinds]
    weights = {row.weights.source: row.weights for row in verdicts if row.weights}
    sources = ["SEEDED, which classify nothing" if name == "seeded" else f"of {name}" for name in weights]
    versions = dict.fromkeys(f"{name} {version}" for row in verdicts for name, version in row.versions.items())
    runtimes = dict.fromkeys(row.runtime for row in verdicts)
    facts = [images, f"runtime {', '.join(runtimes)}", *([f"weights {', '.join(sources)}"] if sources else []), *versions]
    allowed = (
        f"Allowed: {', '.join(limits)}; with trained weights on photographs {MIN_TOP1_KEPT:.0%} of the reference's top-1 kept."
    )
    errors = "Errors are relative to max|logit| of the reference, PyTorch in FP32, over all images."
    return "; ".join(facts) + ".", errors, allowed


# --- block by block ---


def first_divergence(found: list[Divergence]) -> Divergence | None:
    """The first block that leaves tolerance."""
    return next((row for row in found if not row.error <= row.limit), None)


def divergence_sentence(found: list[Divergence]) -> str:
    """Where FP16 departs from FP32, or how near it comes to it."""
    if first := first_divergence(found):
        how = f"differs by {first.error:.2g} of its RMS (allowed {first.limit:.2g})"
        if first.overflows:
            how = f"has {first.overflows} values that FP16 cannot hold"
        return f"{first.block} is the first block out of tolerance: it {how}; its largest value is {first.largest:.3g} in FP32"
    nearest = max(found, key=lambda row: row.error / row.limit)
    return (
        f"no block of {len(found)} is out of tolerance; the nearest to it is {nearest.block}, which differs by "
        f"{nearest.error:.2g} of its RMS (allowed {nearest.limit:.2g})"
    )


def layer_table(model: str, found: list[Divergence]) -> Table:
    rows = tuple(
        (
            Cell(row.block, row.block),
            Cell(row.error, f"{row.error:.1e}") if row.error < math.inf else Cell(None, "not finite"),
            Cell(row.limit, f"{row.limit:.1e}"),
            Cell(row.largest, f"{row.largest:.3g}"),
            Cell(row.overflows, str(row.overflows)),
            Cell(verdict := "passes" if row.error <= row.limit else "FAILS", verdict),
        )
        for row in found
    )
    caption = (
        f"{divergence_sentence(found)}.",
        "What each block hands on, by ONNX Runtime on the FP16 and the FP32 graph: the RMS of the differences in the worst "
        "channel, relative to the larger of its own RMS and its tensor's; allowed is eight times what rounding alone gives at "
        "that depth; overflows are values beyond FP16.",
    )
    columns = ("Block", "error", "allowed", "largest value", "overflows", "verdict")
    return Table(f"{model}, block by block", columns, rows, caption)
