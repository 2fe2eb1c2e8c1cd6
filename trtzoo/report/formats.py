"""FORMATS: tables → text, one function a format."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from typing import Literal

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from trtzoo.errors import unknown
from trtzoo.report.tables import Cell, Table


def rich(tables: list[Table]) -> str:
    """For a terminal, as wide as it is."""
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"  # bold is an escape code, too
    console = Console(highlight=False, markup=False, color_system=colours)
    with console.capture() as capture:
        for table in tables:
            console.print(_grid(table))
            for line in _below(table):
                console.print(line, style="dim")
            console.print()
    return capture.get()


def markdown(tables: list[Table]) -> str:
    parts = []
    for table in tables:
        lines = [f"### {table.title}", "", _bar(table.columns), _bar(["---", *["---:"] * (len(table.columns) - 1)])]
        lines += [_bar([_text(cell) for cell in row]) for row in table.rows]
        parts.append("\n".join([*lines, "", "\n\n".join(_below(table)), ""]))
    return "\n".join(parts)


def comma_separated(tables: list[Table]) -> str:
    """One block a table, each under a `# title` line; a value never measured is empty."""
    out = io.StringIO()
    for table in tables:
        out.write(f"# {table.title}\n")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([["" if cell.value is None else cell.value for cell in row] for row in table.rows])
        out.write("\n")
    return out.getvalue()


def json(tables: list[Table]) -> str:
    """A list of tables; each row maps column names to values, null where none was measured."""
    plain = [
        {
            "title": table.title,
            "rows": [{name: cell.value for name, cell in zip(table.columns, row, strict=True)} for row in table.rows],
            "caption": table.caption,
            "notes": table.notes,
        }
        for table in tables
    ]
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"


FORMATS: dict[str, Callable[[list[Table]], str]] = {"rich": rich, "md": markdown, "csv": comma_separated, "json": json}


def render(tables: list[Table], form: str) -> str:
    """The tables as text. Raises UsageError for an unknown format."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](tables)


def _grid(table: Table) -> RichTable:
    grid = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(table.columns):
        grid.add_column(name.replace(" ", "\n"), justify="right" if index else "left", no_wrap=index == 0)
    for row in table.rows:
        grid.add_row(*(_text(cell) for cell in row))
    return grid


def _text(cell: Cell) -> str:
    return f"{cell.text} {cell.mark}" if cell.mark else cell.text


def _below(table: Table) -> list[str]:
    return [*table.caption, *(f"[{number}] {note}" for number, note in enumerate(table.notes, start=1))]


def _bar(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
