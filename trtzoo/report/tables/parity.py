"""Parity tables: verdicts of a check, and divergence block by block. A column is a row of one of the tuples below."""

import math
from collections.abc import Callable

from trtzoo.core.precisions import PRECISIONS
from trtzoo.report.results import weights_text
from trtzoo.report.tables.model import Column, Table, Value, caption, make_table
from trtzoo.runtimes.registry import find_runtime
from trtzoo.verification import tolerances
from trtzoo.verification.tolerances import BlockError, Divergence, LabelledOutcome, PairedMetrics, ParityVerdict

Columns = tuple[Column[ParityVerdict], ...]


def _metric(read: Callable[[PairedMetrics], Value]) -> Callable[[ParityVerdict], Value]:
    return lambda row: read(row.metrics) if row.metrics else None


def _labelled(read: Callable[[LabelledOutcome], Value]) -> Callable[[ParityVerdict], Value]:
    return _metric(lambda metrics: read(metrics.labelled) if metrics.labelled else None)


ENGINE_COLUMNS: Columns = (
    Column("Model", lambda row: row.model),
    Column("prec.", lambda row: row.precision),
    Column("batch", lambda row: row.batch),
    Column("runtime", lambda row: row.runtime),
)
LOGIT_COLUMNS: Columns = (
    *ENGINE_COLUMNS,
    Column(
        "verdict",
        lambda row: "FAILS" if row.reasons else "passes",
        note=lambda row: f"{row.title}: {'; '.join(row.reasons)}." if row.reasons else "",
    ),
    Column("max error", _metric(lambda metrics: metrics.error), "{:.1e}"),
    Column("RMS error", _metric(lambda metrics: metrics.rms), "{:.1e}"),
    Column("least cosine", _metric(lambda metrics: metrics.cosine), "{:.6f}"),
    Column("worst image", lambda row: row.worst or None),
)
CLASS_COLUMNS: Columns = (
    *ENGINE_COLUMNS,
    Column("images", _metric(lambda metrics: metrics.images)),
    Column("same top-1", _metric(lambda metrics: metrics.same_top1 / metrics.images), "{:.2%}"),
    Column("same top-5", _metric(lambda metrics: metrics.same_top5 / metrics.images), "{:.2%}"),
    Column("kept, at least", _metric(tolerances.top1_kept), "{:.2%}"),
    Column("flips", _metric(lambda metrics: metrics.flips)),
    Column("margin", _metric(lambda metrics: metrics.margin if metrics.flips else None), "{:.1e}"),
    Column("ref. right", _labelled(lambda outcome: outcome.reference)),
    Column("right", _labelled(lambda outcome: outcome.engine)),
    Column("lost", _labelled(lambda outcome: outcome.lost)),
    Column("won", _labelled(lambda outcome: outcome.won)),
    Column("p", _labelled(lambda outcome: outcome.p), "{:.2g}"),
)
LAYER_COLUMNS: tuple[Column[Divergence], ...] = (
    Column("Block", lambda row: row.block),
    Column("error", lambda row: row.error if row.error < math.inf else None, "{:.1e}", missing=lambda row: "not finite"),
    Column("allowed", lambda row: row.limit, "{:.1e}"),
    Column("largest value", lambda row: row.largest, "{:.3g}"),
    Column("overflows", lambda row: row.overflows),
    Column("verdict", lambda row: "passes" if row.error <= row.limit else "FAILS"),
)
BLOCK_COLUMNS: tuple[Column[BlockError], ...] = (
    Column("Block", lambda row: row.block),
    Column("adds", lambda row: row.error, "{:.1e}"),
    Column("share", lambda row: row.share, "{:.1%}"),
    Column("allowed", lambda row: row.limit, "{:.1e}"),
    Column("verdict", lambda row: "passes" if row.error <= row.limit else "FAILS"),
)


def _limit_text(precision: str, error: float) -> str:
    least = PRECISIONS[precision].least_cosine
    return (
        f"{precision} {error:.1e} and RMS {error * tolerances.RMS_SHARE:.1e}"
        if least is None
        else f"{precision} cosine {least:g}"
    )


def _runtime_text(row: ParityVerdict) -> str:
    emulated = row.precision in find_runtime(row.runtime).emulates
    return f"{row.runtime} (emulates {row.precision})" if emulated else row.runtime


def tables(verdicts: list[ParityVerdict], images: str) -> list[Table]:
    """Make the tables of logits and of classes. `images` describes the images. A failed engine's reasons are notes."""
    allowed = {(row.precision, row.runtime): tolerances.parity_limit(row.precision, row.runtime) for row in verdicts}
    limits = [_limit_text(name, error) for (name, _), error in allowed.items()]
    sources = dict.fromkeys(weights_text(row.weights) for row in verdicts if row.weights)
    versions = dict.fromkeys(f"{name} {version}" for row in verdicts for name, version in row.versions.items())
    runtimes = dict.fromkeys(_runtime_text(row) for row in verdicts)
    references = dict.fromkeys(row.reference for row in verdicts)
    reference = "PyTorch reference" if all(name.startswith("PyTorch") for name in references) else "reference"
    lines = [
        "; ".join([images, f"runtime {', '.join(runtimes)}", *sources, *versions]) + ".",
        caption("errors", reference=", ".join(references)),
    ]
    lines.append(caption("allowed", limits=", ".join(limits), kept=tolerances.MIN_TOP1_KEPT))
    compared = [row for row in verdicts if row.metrics]
    labelled = any(row.metrics and row.metrics.labelled for row in compared)
    below = [caption("classes"), *([caption("labelled")] if labelled else [])]
    made, contents = [], (("logits", LOGIT_COLUMNS, verdicts, lines), ("classes", CLASS_COLUMNS, compared, below))
    for name, columns, rows, text in contents:
        filled = [column for column in columns if any(column.value(row) is not None for row in rows)]
        shown = [column for column in filled if len({row.runtime for row in rows}) > 1 or column.name != "runtime"]
        if rows:
            made.append(make_table(f"Parity with the {reference}: {name}", shown, rows, text))
    return made


# --- block by block ---


def first_divergence(found: list[Divergence]) -> Divergence | None:
    """Return the first block that is out of tolerance."""
    return next((row for row in found if not row.error <= row.limit), None)


def divergence_sentence(found: list[Divergence]) -> str:
    """Describe the first block where FP16 diverges from FP32, or else the one closest to its tolerance."""
    if first := first_divergence(found):
        return caption("overflows" if first.overflows else "diverges", row=first)
    return caption("agrees", count=len(found), row=max(found, key=lambda row: row.error / row.limit))


def layer_sentence(found: list[Divergence] | list[BlockError]) -> str:
    """Describe the block that matters most: `divergence_sentence`'s, or of a quantized graph the one that adds the most."""
    errors = [row for row in found if isinstance(row, BlockError)]
    return (
        caption("adds", row=errors[0]) if errors else divergence_sentence([row for row in found if isinstance(row, Divergence)])
    )


def layer_table(model: str, found: list[Divergence] | list[BlockError]) -> Table:
    """Make the table of each block's divergence, or of the error that each block of a quantized graph adds."""
    sentence = f"{layer_sentence(found)}."
    if errors := [row for row in found if isinstance(row, BlockError)]:
        return make_table(f"{model}, the error of each block alone", BLOCK_COLUMNS, errors, (sentence, caption("alone")))
    blocks = [row for row in found if isinstance(row, Divergence)]
    return make_table(f"{model}, block by block", LAYER_COLUMNS, blocks, (sentence, caption("layers")))
