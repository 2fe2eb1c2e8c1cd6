"""Tables as values, and those of the networks: accuracy, FLOPs and parameters. Formats are formats.py's."""

import msgspec

DASH = "—"


class Cell(msgspec.Struct, frozen=True):
    """A value and how it is printed; None was never measured. `mark` refers to one of the table's notes."""

    value: float | str | None
    text: str = DASH
    mark: str = ""


class Table(msgspec.Struct, frozen=True):
    """Columns by name, rows of as many cells, facts that hold for all of it, and notes to single cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def note(text: str, notes: list[str]) -> str:
    """The mark of a note, which is added where it is new; none for an empty one."""
    if not text:
        return ""
    if text not in notes:
        notes.append(text)
    return f"[{notes.index(text) + 1}]"
