"""Tables as values. A table's columns are rows of Column, one row a column; formats.py turns tables into text."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

DASH = "—"

Value = float | str | None
T = TypeVar("T")


class Cell(msgspec.Struct, frozen=True):
    """A value and its text. The value is None if it was never measured. `mark` refers to one of the table's notes."""

    value: Value
    text: str = DASH
    mark: str = ""


class Table(msgspec.Struct, frozen=True):
    """Column names, rows of as many cells, a caption for the whole table, and notes to single cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Column(msgspec.Struct, Generic[T], frozen=True):
    """A column of a table whose rows show values of type T.

    `value` is the cell's value, or None; `form` formats it; `missing` is the text for None; `note` is a note to the cell.
    """

    name: str
    value: Callable[[T], Value]
    form: str = "{}"
    note: Callable[[T], str] = lambda row: ""
    missing: Callable[[T], str] = lambda row: DASH

    def cell(self, row: T, notes: list[str]) -> Cell:
        """Make the row's cell. A new note is appended to `notes`; an equal note shares its number."""
        value, note = self.value(row), self.note(row)
        if note and note not in notes:
            notes.append(note)
        mark = f"[{notes.index(note) + 1}]" if note else ""
        return Cell(value, self.missing(row) if value is None else self.form.format(value), mark)


def make_table(title: str, columns: Sequence[Column[T]], rows: Iterable[T], caption: Iterable[str] = ()) -> Table:
    """Make a table of the rows. Notes are numbered in reading order."""
    notes: list[str] = []
    cells = tuple(tuple(column.cell(row, notes) for column in columns) for row in rows)
    return Table(title, tuple(column.name for column in columns), cells, tuple(caption), tuple(notes))
