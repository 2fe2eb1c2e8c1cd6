"""Formats: the same table as a terminal's text, Markdown, CSV and JSON."""

import csv
import json
import re
import unicodedata

import pytest
from markdown_it import MarkdownIt

from trtzoo.core.errors import UsageError
from trtzoo.report.tables.formats import FORMATS, render
from trtzoo.report.tables.model import Cell, Table

TABLE = Table(
    "Latency in ms",
    ("Model", "CPU b1", "T4 published b1"),
    (
        (Cell("dpn68", "dpn68"), Cell(21.5, "21.50", "shaky"), Cell(None)),
        (Cell("dpn92", "dpn92"), Cell(None), Cell(18.1, "18.10")),
    ),
    ("Measured here.",),
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


def test_csv_has_one_header_rounded_values_and_leaves_what_was_not_measured_empty():
    exact = Table("T", ("Model", "ms"), ((Cell("dpn68", "dpn68"), Cell(1 / 3, "0.33")),))
    assert render([exact], "csv") == "Model,ms\ndpn68,0.333333\n"
    assert list(csv.reader(render([TABLE], "csv").splitlines())) == [
        ["Model", "CPU b1", "T4 published b1", "Notes"],
        ["dpn68", "21.5", "", "CPU b1: shaky"],
        ["dpn92", "", "18.1", ""],
    ]


def test_csv_of_several_tables_is_one_with_the_titles_in_front_and_the_columns_of_all():
    other = Table("Accuracy", ("Model", "Top1"), ((Cell("dpn68", "dpn68"), Cell(0.768, "0.768")),))
    assert list(csv.reader(render([TABLE, other], "csv").splitlines())) == [
        ["Table", "Model", "CPU b1", "T4 published b1", "Top1", "Notes"],
        ["Latency in ms", "dpn68", "21.5", "", "", "CPU b1: shaky"],
        ["Latency in ms", "dpn92", "", "18.1", "", ""],
        ["Accuracy", "dpn68", "", "", "0.768", ""],
    ]


def test_json_has_null_for_what_was_not_measured():
    read = json.loads(render([TABLE, TABLE], "json"))
    assert read["schema"] == 1
    assert read["tables"][1] == {
        "title": "Latency in ms",
        "rows": [
            {"Model": "dpn68", "CPU b1": 21.5, "T4 published b1": None},
            {"Model": "dpn92", "CPU b1": None, "T4 published b1": 18.1},
        ],
        "caption": ["Measured here."],
        "marked": [{"row": "dpn68", "column": "CPU b1", "note": "shaky"}],
    }


def test_the_terminals_table_keeps_marks_dashes_and_brackets(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = render([TABLE], "rich")
    assert "21.50 [1]" in text and "—" in text and "[1] shaky" in text
    assert max(map(len, text.splitlines())) <= 80


def test_latex_is_a_table_of_its_own_commands_with_every_special_character_escaped():
    odd = Table("FP16 & 100%", ("Model_1", "±"), ((Cell("a#b", "a#b"), Cell(1.0, "1.0", "a\\b")),), ("{x}^2 ~ $5",))
    assert render([odd], "latex") == (
        "\\begin{table}\n"
        "\\caption{FP16 \\& 100\\%}\n"
        "\\begin{tabular}{lr}\n"
        "\\hline\n"
        "Model\\_1 & $\\pm$ \\\\\n"
        "\\hline\n"
        "a\\#b & 1.0 {[}1{]} \\\\\n"
        "\\hline\n"
        "\\end{tabular}\n"
        "\\par \\{x\\}\\textasciicircum{}2 \\textasciitilde{} \\$5\n"
        "\\par {[}1{]} a\\textbackslash{}b\n"
        "\\end{table}\n"
    )


def test_eighty_columns_hold_a_wide_table_with_marks_and_nothing_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"b{batch} {kind}" for batch in (1, 4, 8) for kind in ("published", "measured", "ratio")]
    model, empty = Cell("densenet121", "densenet121"), Cell(None)
    row = (model, *(Cell(1.0, "100.12"), Cell(1.0, "1128.49", "the twelfth"), Cell(1.0, "11.27")) * 3)
    noted = [(model, Cell(1.0, "1.00", f"note {number}"), *(empty,) * 8) for number in range(11)]
    text = render([Table("T", ("Model", *names), (*noted, row))], "rich")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text and text.count("1128.49") == text.count("[12]") - 1 == 3


def test_a_long_name_is_wrapped_before_a_number_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"Top{rank} {kind}" for rank in (1, 5) for kind in ("published", "measured", "difference", "±")]
    numbers = [Cell(1.0, "0.5000")] * 8
    rows = [(Cell(name, name), *numbers, Cell(12, "12")) for name in ("densenet121", "own (3 classes, 32x32, fixed batch)")]
    text = render([Table("T", ("Model", *names, "Images"), tuple(rows))], "rich")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text and text.count("0.5000") == 16 and "densenet121" in text and "Images" in text


@pytest.mark.parametrize("form", FORMATS)
def test_no_tables_make_no_text(form):
    assert render([], form).strip() in ("", '{\n  "schema": 1,\n  "tables": []\n}')


def test_an_unknown_format_is_a_usage_error():
    with pytest.raises(UsageError, match=r"There is no format 'xml'. Known: rich, md, csv, json, latex"):
        render([], "xml")


# --- text from files ---

HOSTILE = (
    "<script>alert(1)</script>",
    "[a](javascript:alert(1))",
    "![a](https://x.example/a.png)",
    "a | b",
    "a\nb",
    "\x1b]0;title\x07\x1b[31mred",
    "\u202etxt.exe",
    "=HYPERLINK(1)",
    "+1+1",
    "-2",
    "@sum",
    r"\input{/etc/passwd}",
    "$x$ & 5 % # _ { } ~ ^",
    "* row",
    "`a | b` \\| ~~c~~ __d__ *e*",
    "\\",
    "www.example.org http://example.org @everyone",
    "a,=1+1",
    "a;=1+1",
    'a,"=1+1"',
    " =1+1",
    "\uff1d1+1",
    "\ud800\ufffe",
    "# heading #",
    "- list",
    "12. list",
    'a,"b',
    ":skull:",
)


def hostile(text):
    return Table(text, ("Model", text), ((Cell(text, text), Cell(1.0, text, text)),), (text,))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("form", FORMATS)
def test_no_control_character_reaches_a_terminal(form, text):
    shown = re.sub(r"\x1b\[[0-9;]*m", "", render([hostile(text)], form)) if form == "rich" else render([hostile(text)], form)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_of_any_text_has_no_html_and_no_link_and_keeps_its_columns(text):
    shown = render([hostile(text)], "md")
    assert "<" not in shown and "](" not in shown
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert {len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line))) for line in table} == {3}
    assert not re.search(r"(?<!\\)(\\\\)*[`*~]|\w://|www\.|@\w", shown)


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_of_any_text_is_no_formula_and_reads_back(text):
    rows = list(csv.reader(render([hostile(text)] * 2, "csv").splitlines()))
    assert [len(row) for row in rows] == [4, 4, 4]
    texts = [part for field in (*rows[0], *rows[1][:2], rows[1][3]) for part in re.split("[,;]", field)]
    assert not [value for value in texts if value.strip(' "')[:1] in tuple("=+-@\uff1d")]


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_of_any_text_has_no_command_of_its_own(text):
    shown = render([hostile(text)], "latex")
    assert not re.search(r"\\\\\s*[*\[]", shown)  # arguments of the line's end
    commands = set(re.findall(r"\\([a-zA-Z]+)", shown))
    known = {"begin", "caption", "end", "hline", "par", "textbackslash", "textasciitilde", "textasciicircum"}
    assert commands <= known


@pytest.mark.parametrize("text", ["# a", "- a", "+ a", "1. a", "12) a", "---", "a #", "[a]: http://x", "~~~", "_a_", "    a"])
def test_markdown_of_any_line_is_a_paragraph_with_that_text(text):
    tokens = MarkdownIt().parse(render([Table("T", ("Model",), (), (text,))], "md").split("| --- |")[1])
    assert [token.tag for token in tokens] == ["p", "", "p"]
    assert "".join(child.content for child in tokens[1].children) == text.strip()


def test_numbers_and_our_own_words_are_not_escaped_in_markdown():
    shown = render([Table("T_4 #1", ("a_b",), ((Cell(-0.5, "-0.50", "x"),), (Cell(0.1, "+0.10"),)), ("Is 5. Not 6.",))], "md")
    assert shown == ("### T_4 #1\n\n| a_b |\n| --- |\n| -0.50 [1] |\n| +0.10 |\n\nIs 5. Not 6.\n\n[1] x\n")


def test_a_quote_in_a_title_does_not_swallow_the_table_in_csv():
    table = Table('Latency on X,"', ("Model",), ((Cell("a", "a"),),))
    rows = list(csv.reader(render([table, table], "csv").splitlines()))
    assert rows == [["Table", "Model"], ['Latency on X,"', "a"], ['Latency on X,"', "a"]]
