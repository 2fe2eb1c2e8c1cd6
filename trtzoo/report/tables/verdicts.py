"""The tables of verdicts: latency beside FP32's, and accuracy and size. A column is a row of one of the tuples below."""

from collections.abc import Sequence

from trtzoo.report.results import device_text, pairs_text, protocol_text, weights_text
from trtzoo.report.tables.model import Column, Table, caption, make_table
from trtzoo.report.verdict import LEAST_GAIN, Side, Verdict, verdict_text
from trtzoo.verification.tolerances import MIN_TOP1_KEPT, difference_interval, top1_kept

Columns = tuple[Column[Verdict], ...]


def _seconds(side: Side) -> float:
    """The geometric mean of the runs' latencies, as in the ratio."""
    from statistics import geometric_mean

    return geometric_mean(run.seconds for run in side.runs)


def _classes(row: Verdict) -> bool:
    """Whether classes were compared that mean something."""
    return bool(row.accuracy.dataset) and not row.seeded


def _top1(row: Verdict) -> float | None:
    _, lost, won = row.accuracy.metrics.outcome
    return 100 * (won - lost) / row.accuracy.metrics.images if _classes(row) else None


def _end(row: Verdict, which: int) -> float | None:
    return 100 * difference_interval(row.accuracy.metrics)[which] if _classes(row) else None


def _memory(side: Side) -> float | None:
    return side.memory / 2**20 if side.memory else None


def _io(row: Verdict) -> str:
    """The types of input and output; those of both files if they differ."""
    here, there = (side.io.upper() or "unknown" for side in (row.before, row.after))
    return here if here == there else f"{here} (fp32) and {there} ({row.case.precision})"


def _note(row: Verdict) -> str:
    left_out = [f"{row.left_out} disturbed runs are left out"] if row.left_out else []
    return f"{row.title}: {'; '.join([*row.judgement.reasons, *left_out])}."


CASE: Columns = (
    Column("Model", lambda row: row.identity.title),
    Column("prec.", lambda row: row.case.precision),
    Column("batch", lambda row: row.case.batch),
    Column("runtime", lambda row: row.case.runtime),
)
SPEED_COLUMNS: Columns = (
    *CASE,
    Column("verdict", verdict_text, note=_note),
    Column("FP32 ms", lambda row: 1000 * _seconds(row.before), "{:.2f}"),
    Column("ms", lambda row: 1000 * _seconds(row.after), "{:.2f}"),
    Column("ratio", lambda row: row.ratio.value, "{:.3f}"),
    Column("from", lambda row: row.ratio.low, "{:.3f}"),
    Column("to", lambda row: row.ratio.high, "{:.3f}"),
    Column("runs", lambda row: f"{len(row.before.runs)}+{len(row.after.runs)}"),
)
ACCURACY_COLUMNS: Columns = (
    *CASE,
    Column("images", lambda row: row.accuracy.metrics.images),
    Column("top-1, points", _top1, "{:+.2f}"),
    Column("from", lambda row: _end(row, 0), "{:+.2f}"),
    Column("to", lambda row: _end(row, 1), "{:+.2f}"),
    Column("kept, at least", lambda row: top1_kept(row.accuracy.metrics) if _classes(row) else None, "{:.2%}"),
    Column("least cosine", lambda row: row.accuracy.metrics.cosine, "{:.6f}"),
    Column("leave out", lambda row: row.accuracy.block or None),
    Column("FP32 MB", lambda row: row.before.bytes / 1e6, "{:.2f}"),
    Column("MB", lambda row: row.after.bytes / 1e6, "{:.2f}"),
    Column("FP32 memory MiB", lambda row: _memory(row.before), "{:.1f}"),
    Column("memory MiB", lambda row: _memory(row.after), "{:.1f}"),
)


def tables(found: Sequence[Verdict]) -> list[Table]:
    """Make the two tables of verdicts. A verdict's reasons are its note; a column that says nothing is left out."""
    if not found:
        return []
    facts = dict.fromkeys(
        f"{device_text(row.device)}; {row.case.runtime}; {pairs_text(row.versions)}; {weights_text(row.identity.weights)}; "
        f"{_io(row)} I/O."
        for row in found
    )
    chosen = dict.fromkeys(f"The runtime was chosen by FP32: {row.selection_reason}." for row in found if row.selection_reason)
    protocols = [f"Protocol {protocol_text(name)}." for name in dict.fromkeys(row.case.protocol for row in found)]
    images = dict.fromkeys(
        f"photographs of {row.accuracy.dataset}" if row.accuracy.dataset else "the golden sample: accuracy not measured"
        for row in found
    )
    references = ", ".join(dict.fromkeys(row.accuracy.reference for row in found))
    made = []
    for title, columns, lines in (
        ("Does it pay? Latency beside FP32", SPEED_COLUMNS, [*facts, *chosen, *protocols, caption("pays", gain=LEAST_GAIN)]),
        (
            "Does it pay? Accuracy and size",
            ACCURACY_COLUMNS,
            [caption("paired", images=" and ".join(images), reference=references, kept=MIN_TOP1_KEPT)],
        ),
    ):
        filled = [column for column in columns if any(column.value(row) is not None for row in found)]
        shown = [column for column in filled if len({row.case.runtime for row in found}) > 1 or column.name != "runtime"]
        made.append(make_table(title, shown, found, lines))
    return made
