"""Formats: the same table as a terminal's text, Markdown, CSV and JSON."""

import csv
import json

import pytest

from trtzoo.errors import UsageError
from trtzoo.report.formats import FORMATS, render
from trtzoo.report.tables import Cell, Table

TABLE = Table(
    "Latency in ms",
    ("Model", "CPU b1", "T4 published b1"),
    (
        (Cell("dpn68", "dpn68"), Cell(21.5, "21.50", "[1]"), Cell(None)),
        (Cell("dpn92", "dpn92"), Cell(None), Cell(18.1, "18.10")),
    ),
    ("Measured here.",),
    ("shaky",),
)


def test_markdown_is_a_table_with_caption_and_notes():
    assert render([TABLE], "md") == (
        "### Latency in ms\n"
        "\n"
        "| Model | CPU b1 | T4 published b1 |\n"
        "| --- | ---: | ---: |\n"
        "| dpn68 | 21.50 [1] | — |\n"
        "| dpn92 | — | 18.10 |\n"
        "\n"
        "Measured here.\n"
        "\n"
        "[1] shaky\n"
    )


def test_csv_has_values_and_leaves_what_was_not_measured_empty():
    lines = render([TABLE], "csv").splitlines()
    assert lines[0] == "# Latency in ms"
    assert list(csv.reader(lines[1:4])) == [
        ["Model", "CPU b1", "T4 published b1"],
        ["dpn68", "21.5", ""],
        ["dpn92", "", "18.1"],
    ]


def test_json_has_null_for_what_was_not_measured():
    assert json.loads(render([TABLE, TABLE], "json"))[1] == {
        "title": "Latency in ms",
        "rows": [
            {"Model": "dpn68", "CPU b1": 21.5, "T4 published b1": None},
            {"Model": "dpn92", "CPU b1": None, "T4 published b1": 18.1},
        ],
        "caption": ["Measured here."],
        "notes": ["shaky"],
    }


def test_the_terminals_table_keeps_marks_dashes_and_brackets(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = render([TABLE], "rich")
    assert "21.50 [1]" in text and "—" in text and "[1] shaky" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("form", FORMATS)
def test_no_tables_are_no_text_worth_a_line(form):
    assert render([], form).strip() in ("", "[]")


def test_an_unknown_format_is_a_usage_error():
    with pytest.raises(UsageError, match=r"There is no format 'xml'. Known: rich, md, csv, json"):
        render([], "xml")
