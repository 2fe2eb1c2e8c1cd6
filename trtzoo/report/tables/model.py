"""Tables as values. A table's columns are rows of Column, one row a column; formats.py turns tables into text."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

from trtzoo.report.published import read_toml

DASH = "—"

Value = float | str | None
T = TypeVar("T")


class Cell(msgspec.Struct, frozen=True):
    """A value, its text, and a note to it. The value is None if it was never measured."""

    value: Value
    text: str = DASH
    note: str = ""


class Table(msgspec.Struct, frozen=True):
    """Column names, rows of as many cells, and a caption for the whole table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes to cells, in reading order; equal notes are one, and share its number."""
        return tuple(dict.fromkeys(cell.note for row in self.rows for cell in row if cell.note))

    @property
    def texts(self) -> list[list[str]]:
        """The headings, then the texts of each row's cells with the numbers of their notes."""
        marks = {"": "", **{note: f" [{number}]" for number, note in enumerate(self.notes, start=1)}}
        return [list(self.columns), *([cell.text + marks[cell.note] for cell in row] for row in self.rows)]

    @property
    def below(self) -> list[str]:
        """The caption and the numbered notes."""
        return [*self.caption, *(f"[{number}] {note}" for number, note in enumerate(self.notes, start=1))]


def caption(name: str, **values: object) -> str:
    """Return a sentence of captions.toml, with its values."""
    return str(read_toml("captions.toml")[name].format(**values))


class Column(msgspec.Struct, Generic[T], frozen=True):
    """A column of a table whose rows show values of type T.

    `value` is the cell's value, or None; `form` formats it; `missing` is the text for None; `note` is a note to the cell.
    """

    name: str
    value: Callable[[T], Value]
    form: str = "{}"
    note: Callable[[T], str] = lambda row: ""
    missing: Callable[[T], str] = lambda row: DASH

    def cell(self, row: T) -> Cell:
        value = self.value(row)
        return Cell(value, self.missing(row) if value is None else self.form.format(value), self.note(row))


def make_table(title: str, columns: Sequence[Column[T]], rows: Iterable[T], caption: Iterable[str] = ()) -> Table:
    cells = tuple(tuple(column.cell(row) for column in columns) for row in rows)
    return Table(title, tuple(column.name for column in columns), cells, tuple(caption))
