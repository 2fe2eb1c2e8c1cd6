"""FORMATS: turn tables into text, one function a format."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from trtzoo.core.console import one_line
from trtzoo.core.errors import find_row
from trtzoo.core.records import SCHEMA
from trtzoo.report.tables.model import Cell, Table, Value

SHORT = {"published": "publ.", "measured": "meas.", "difference": "diff."}  # so that tables fit eighty columns
LONG_NAME = 16  # characters; a longer name is wrapped before any number is


def rich(tables: list[Table]) -> str:
    """Format for a terminal of any width."""
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"  # bold is an escape code, too
    console = Console(highlight=False, markup=False, emoji=False, color_system=colours)
    with console.capture() as capture:
        for table in tables:
            grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
            headings, *rows = table.texts
            names = [row[0] for row in rows]
            spare = max(map(len, names), default=0) > LONG_NAME
            widest = max((len(word) for name in names for word in name.split()), default=0)
            for index, name in enumerate(headings):
                heading = "\n".join(SHORT.get(word, word) for word in name.split())
                first = index == 0
                justify: Literal["left", "right"] = "left" if first else "right"
                grid.add_column(heading, justify=justify, no_wrap=first and not spare, min_width=widest if first else None)
            for row in rows:
                grid.add_row(*row)
            console.print(table.title, style="italic")
            console.print(grid)
            for line in table.below:
                console.print(line, style="dim")
            console.print()
    return capture.get()


MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{char: rf"\{char}" for char in r"\|`*~"}})
MARKUP = re.compile(r"\[(?!\d+\])|(?<=\])[(:]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|#(?=#*$)")  # not a note's number
BLOCK = re.compile(r"^(\d*)([-+#.)])(?=[\s#+-]|$)")  # a heading, list or rule where a line begins
BARE_LINK = re.compile(r"(?<=\w):(?=//)|(?<=www)\.|@(?=\w)", re.IGNORECASE)  # GitHub makes links of addresses and names


def _markdown(text: str) -> str:
    """Text without HTML, links, code or columns of its own."""
    plain = BLOCK.sub(r"\1\\\2", MARKUP.sub(r"\\\g<0>", text.translate(MARKDOWN)))
    return BARE_LINK.sub(lambda found: f"&#{ord(found[0])};", plain)


def markdown(tables: list[Table]) -> str:
    parts = []
    for table in tables:
        headings, *rows = [f"| {' | '.join(map(_markdown, texts))} |" for texts in table.texts]
        rule = "| --- |" + " ---: |" * (len(table.columns) - 1)
        below = "\n\n".join(map(_markdown, table.below))
        parts += [f"### {_markdown(table.title)}", "", headings, rule, *rows, "", below, ""]
    return "\n".join(parts)


def comma_separated(tables: list[Table]) -> str:
    """One header row and one row for each row of the tables; of several tables, the first column is the title.

    A missing value is empty. Notes have their own column.
    """
    records = []
    for table in tables:
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            notes = "; ".join(f"{name}: {cell.note}" for name, cell in cells.items() if cell.note)
            record: dict[str, Value] = {"Table": table.title} if len(tables) > 1 else {}
            record |= {name: cell.value for name, cell in cells.items()}
            records.append(record | ({"Notes": notes} if any(each.notes for each in tables) else {}))
    return records_csv(records, first=[] if len(tables) > 1 or not tables else tables[0].columns)


def records_csv(records: Iterable[Mapping[str, Value]], first: Iterable[str] = ()) -> str:
    """One header row, the columns `first` before others, and one row for each record."""
    rows, out = list(records), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    names.sort(key=lambda name: name == "Notes")
    writer.writerow(map(_csv, names))
    writer.writerows([_csv(_line(rounded(row.get(name)))) for name in names] for row in rows)
    return out.getvalue() if names else ""


def rounded(value: Value) -> Value:
    """A number with the digits that a measurement may have."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


FORMULA = re.compile(
    r"""(^|[,;"])\s*(?=[=+@\uff1d\uff0b\uff0d\uff20-])"""
)  # a title has no quotes, and some spreadsheets split at ";"


def _csv(value: Value) -> Value:
    """A value that a spreadsheet does not take for a formula."""
    return FORMULA.sub(r"\g<0>'", value) if isinstance(value, str) else value


def json(tables: list[Table]) -> str:
    """The schema's version and a list of tables. Each row maps column names to values, null if missing.

    `marked` has the notes to cells.
    """
    plain = [
        {
            "title": table.title,
            "rows": [{name: cell.value for name, cell in zip(table.columns, row, strict=True)} for row in table.rows],
            "caption": table.caption,
            "marked": [
                {"row": row[0].value, "column": name, "note": cell.note}
                for row in table.rows
                for name, cell in zip(table.columns, row, strict=True)
                if cell.note
            ],
        }
        for table in tables
    ]
    return json_text({"schema": SCHEMA, "tables": plain})


def json_text(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


LATEX = str.maketrans(
    {char: rf"\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "—": "---"}
    | {"[": "{[}", "]": "{]}", "*": "{*}", "<": r"$<$", ">": r"$>$", "|": r"$|$"}
)


def latex(tables: list[Table]) -> str:
    """One `table` environment a table, without LaTeX packages."""
    parts = []
    for table in tables:
        headings, *rows = [" & ".join(text.translate(LATEX) for text in texts) + r" \\" for texts in table.texts]
        align = "l" + "r" * (len(table.columns) - 1)
        parts += [r"\begin{table}", rf"\caption{{{table.title.translate(LATEX)}}}", rf"\begin{{tabular}}{{{align}}}"]
        parts += [r"\hline", headings, r"\hline", *rows, r"\hline", r"\end{tabular}"]
        parts += [*(rf"\par {line.translate(LATEX)}" for line in table.below), r"\end{table}", ""]
    return "\n".join(parts)


FORMATS = {"rich": rich, "md": markdown, "csv": comma_separated, "json": json, "latex": latex}


def render(tables: list[Table], form: str) -> str:
    """Format the tables; texts from files cannot break out of the format. Raises UsageError for an unknown format."""
    return find_row("format", form, FORMATS)([_clean(table) for table in tables])


def _clean(table: Table) -> Table:
    """The table with one line a text, without control characters."""
    cells = [[Cell(_line(cell.value), str(_line(cell.text)), str(_line(cell.note))) for cell in row] for row in table.rows]
    columns, caption = (tuple(str(_line(text)) for text in texts) for texts in (table.columns, table.caption))
    return Table(str(_line(table.title)), columns, tuple(map(tuple, cells)), caption)


def _line(value: Value) -> Value:
    return " ".join(one_line(value).split()) if isinstance(value, str) else value
