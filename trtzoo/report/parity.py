"""The verdicts of a parity check as a table; a column only where it tells something."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from trtzoo.policy import KEPT, POLICIES, Labelled, Paired, Verdict
from trtzoo.report.tables import Cell, Table

Value = float | str | None


class Column(msgspec.Struct, frozen=True):
    """What it holds for an engine, and how that is printed."""

    name: str
    value: Callable[[Verdict], Value]
    form: str = "{}"


def _of(read: Callable[[Paired], Value]) -> Callable[[Verdict], Value]:
    return lambda row: None if row.found is None else read(row.found)


def _known(read: Callable[[Labelled], Value]) -> Callable[[Verdict], Value]:
    return _of(lambda found: None if found.labelled is None else read(found.labelled))


COLUMNS = (
    Column("Model", lambda row: row.model),
    Column("prec.", lambda row: row.precision),
    Column("batch", lambda row: row.batch),
    Column("runtime", lambda row: row.runtime),
    Column("verdict", lambda row: "FAILS" if row.reasons else "passes"),
    Column("images", _of(lambda found: found.images)),
    Column("max error", _of(lambda found: found.error), "{:.1e}"),
    Column("RMS error", _of(lambda found: found.rms), "{:.1e}"),
    Column("least cosine", _of(lambda found: found.cosine), "{:.6f}"),
    Column("same top-1", _of(lambda found: found.same_top1 / found.images), "{:.1%}"),
    Column("same top-5", _of(lambda found: found.same_top5 / found.images), "{:.1%}"),
    Column("flips", _of(lambda found: found.flips)),
    Column("margin", _of(lambda found: found.margin if found.flips else None), "{:.1e}"),
    Column("ref. right", _known(lambda found: found.reference)),
    Column("right", _known(lambda found: found.engine)),
    Column("lost", _known(lambda found: found.lost)),
    Column("won", _known(lambda found: found.won)),
    Column("McNemar p", _known(lambda found: found.p), "{:.2g}"),
    Column("worst image", lambda row: row.worst or None),
)

MEANING = (
    "Errors and margin are relative to max|logit| of the reference, PyTorch in FP32. Flips: images with another class; "
    "margin: the most by which the reference preferred its own class at one of them; lost: right in the reference alone; "
    "won: right in the engine alone."
)


def table(verdicts: list[Verdict], images: str) -> Table:
    """`images` says what was looked at. What an engine failed in is a note at its verdict."""
    columns = [column for column in COLUMNS if any(column.value(row) is not None for row in verdicts)]
    if len({row.runtime for row in verdicts}) == 1:
        columns = [column for column in columns if column.name != "runtime"]
    notes: list[str] = []
    rows = []
    for row in verdicts:
        cells = [_cell(column, column.value(row)) for column in columns]
        if row.reasons:
            notes.append(f"{row.title}: {'; '.join(row.reasons)}.")
            place = [column.name for column in columns].index("verdict")
            cells[place] = msgspec.structs.replace(cells[place], mark=f"[{len(notes)}]")
        rows.append(tuple(cells))
    title = "Parity with the PyTorch reference"
    return Table(title, tuple(column.name for column in columns), tuple(rows), _caption(verdicts, images), tuple(notes))


def _cell(column: Column, value: Value) -> Cell:
    return Cell(None) if value is None else Cell(value, column.form.format(value))


def _caption(verdicts: list[Verdict], images: str) -> tuple[str, ...]:
    kinds = dict.fromkeys(row.precision for row in verdicts)
    limits = [f"{name} {POLICIES[name].error:.1e} and RMS {POLICIES[name].rms:.1e}" for name in kinds]
    weights = {row.weights.source: row.weights for row in verdicts if row.weights}
    sources = ["SEEDED, which classify nothing" if name == "seeded" else f"of {name}" for name in weights]
    versions = dict.fromkeys(f"{name} {version}" for row in verdicts for name, version in row.versions.items())
    runtimes = dict.fromkeys(row.runtime for row in verdicts)
    facts = [images, f"runtime {', '.join(runtimes)}", *([f"weights {', '.join(sources)}"] if sources else []), *versions]
    allowed = f"Allowed: {', '.join(limits)}; with trained weights on photographs {KEPT:.0%} of the reference's top-1 kept."
    return "; ".join(facts) + ".", allowed, MEANING
