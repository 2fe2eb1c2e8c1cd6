"""Injection: texts from files and names are data in each output, which is read back by a parser of its format."""

import base64
import csv
import hashlib
import html.parser
import json
import re
import unicodedata
import warnings
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from markdown_it import MarkdownIt

import trtzoo
from tests.report.judged import judged, metrics, result_of
from tests.report.pages import T4
from tests.report.results import DEVICE, evaluation
from tests.report.runs import run
from trtzoo.accuracy.records import Evaluation
from trtzoo.cli.showing import table
from trtzoo.core.console import one_line, show_messages
from trtzoo.core.errors import TrtzooError
from trtzoo.core.files import encode
from trtzoo.core.records import Failure, GpuSettings, GpuState, LayerTime, Opening, Result, is_plain
from trtzoo.report.compare import cells
from trtzoo.report.compare.table import table as comparison_table
from trtzoo.report.explain import explain
from trtzoo.report.figures.drawing import write
from trtzoo.report.figures.pictures import pictures
from trtzoo.report.results import Found
from trtzoo.report.tables import parity, verdicts
from trtzoo.report.tables.accuracy import evaluation_tables
from trtzoo.report.tables.formats import render, rounded
from trtzoo.report.tables.latency import latency_tables, limit_tables
from trtzoo.verification.tolerances import Divergence, ParityVerdict

PARTS = (
    *(
        "<script>alert(1)</script>",
        "</script",
        "<!--",
        "-->",
        "]]>",
        "<img src=x onerror=alert(1)>",
        '" onload="',
        "'>",
        "<",
        ">",
    ),
    *("&", "&lt;", "&#60;", "{{7*7}}", "{%raw%}", "\\u003cscript>", "javascript:alert(1)", "<svg onload=x>", "<?xml?>"),
    *(
        "<!DOCTYPE x>",
        "[a](http://x.example)",
        "![a](//x)",
        "[a]: http://x",
        "[1]",
        "][",
        "](",
        "`",
        "``` x",
        "*",
        "**",
        "_",
        "__",
    ),
    *(
        "~~",
        "# ",
        "- ",
        "1. ",
        "|",
        "\\|",
        "\\",
        "\\\\",
        "\\\\|",
        "| --- |",
        "http://x.example",
        "www.x.example",
        "a@x.example",
    ),
    *("@all", "<http://x>", "=1+1", "+1", "-1", "@SUM(1)", "\t=1", ",=1", ";=1", '"=1', "'", '"', '""', ",", ";", "\uff1d1"),
    *(
        "=cmd|' /C calc'!A0",
        "\\input{/etc/passwd}",
        "\\write18{x}",
        "$",
        "$$",
        "$\\frac{1}{$",
        "%",
        "#",
        "{",
        "}",
        "^^M",
        "^",
        "~",
    ),
    *(
        "\\\\[1em]",
        "\\end{tabular}",
        "\x1b[31m",
        "\x1b]0;x\x07",
        "\x9b31m",
        "\x00",
        "\x08",
        "\x7f",
        "\r",
        "\n",
        "\r\n",
        "\u2028",
    ),
    *("\u2029", "\x85", "\x0b", "\x0c", "\u202e", "\u2066", "\u200b", "\ufeff", "\ufffe", "\ufdd0", "\U000e0041", "e\u0301"),
    *("\u4e2d", "\U0001f600", ":skull:", "[bold]", " ", "  ", "a", "Tesla T4", "100 %s %d {0} {x}", "$HOME", "$(x)", "x" * 300),
    *("../../x", "C:\\x"),
)


def text(random):
    return "".join(random.choices(PARTS, k=random.choice([1, 1, 2, 3, 5, 12])))


def name(random):
    """A text that a file may have as its name."""
    return "".join(letter for letter in text(random) if letter.isprintable() and letter not in "/\\").strip(".")[:60] or "x"


FIXED = {"schema", "kind", "model", "precision", "protocol", "decoder", "interpolation", "io", "wait", "started"}
PLAIN = {"key", "device", "runtime", "form"}


def spoiled(value, random, field=""):
    """The value of a record with hostile texts in place of most of its texts and names."""
    if isinstance(value, dict):
        free = field in ("versions", "settings", "reasons", "bad")
        return {text(random) if free else key: spoiled(item, random, key) for key, item in value.items()}
    if isinstance(value, list):
        return [spoiled(item, random, field) for item in value]
    if not isinstance(value, str) or field in FIXED or random.random() < 0.3:
        return value
    if field in PLAIN:
        return name(random)
    made = text(random)
    return made if made.strip() or field != "name" else "x"  # a device has a name


def record(value, random):
    """The record with hostile texts, as it comes from a file."""
    made = spoiled(json.loads(msgspec.json.encode(value)), random)
    if "case" in made:  # a reader refuses a result whose case is of another device
        made["case"]["device"] = made["device"]["key"]
    return msgspec.json.decode(json.dumps(made).encode(), type=type(value))


GPU = {
    "opening": Opening(
        deserialisation=1.0, context=1.0, first_inference=1.0, engine_size=1, context_memory=1, notes=("a warning", "another")
    ),
    "gpu_state": GpuState(reasons={"hot": 3}, readings=9, error="gone"),
    "gpu_settings": GpuSettings(ecc="on", persistence_mode="on", compute_mode="shared", mig="off"),
    "layers": (LayerTime(name="conv", seconds=1.0), LayerTime(name="fc", seconds=0.5)),
    "settings": {"builder options": "x", "cuda graph": "off: y"},
    "selection_reason": "fastest",
    "runtime": "tensorrt",
    "device": msgspec.structs.replace(T4, uuid="GPU-1", bus_id="0:0"),
}
RESULTS = (
    run(),
    run(model="dpn92", batch=4),
    run(model="dpn98", samples=0, failure=Failure(kind="error", reason="why")),
    run(model="dpn131", precision="fp16", batch=4, **GPU),
    run(model="dpn131", device=T4, runtime="tensorrt", protocol="paddle2020"),
)
EVALUATIONS = (evaluation(bad={"a.png": "broken"}), evaluation("dpn68", not_finite=2))
VERDICT = ParityVerdict(model="m", precision="fp32", batch=1, runtime="onnxruntime", worst="a.png", reasons=("too far",))


def hostile_results(random):
    return [record(result, random) for result in RESULTS]


def hostile_verdict(random):
    """A verdict with hostile texts on the first result, which has lost too much."""
    given = {"data": text(random), "block": text(random), "accuracy": metrics(100, lost=50), "warning": text(random)}
    made = judged(precision="int8", **given)
    reference, versions = text(random), {text(random): text(random)}
    accuracy = msgspec.structs.replace(made.accuracy, reference=reference, fingerprint=text(random))
    return msgspec.structs.replace(made, accuracy=accuracy, versions=versions, selection_reason=text(random))


def hostile_tables(random):
    """Tables of all kinds with texts from files of all kinds."""
    results, evaluations = hostile_results(random), [record(row, random) for row in EVALUATIONS]
    verdict = msgspec.structs.replace(VERDICT, model=text(random), worst=text(random), reasons=(text(random), text(random)))
    verdict_row = hostile_verdict(random)
    blocks = [Divergence(text(random), 0.1, 0.01, 1.0, overflows) for overflows in (0, 3)]
    compared = cells.compare(results, [record(result, random) for result in RESULTS])
    made = [
        *latency_tables(results, verdicts=[verdict_row]),
        *verdicts.tables([verdict_row]),
        *limit_tables(results),
        *evaluation_tables(evaluations),
        *parity.tables([verdict], text(random)),
        parity.layer_table(text(random), blocks),
        comparison_table(compared),
    ]
    return random.sample(made, 3)


def shown(value):
    """A text as each format should show it."""
    return " ".join(one_line(value).split())


def assert_no_control_characters(found, allowed="\n"):
    odd = {char for char in found if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in allowed}
    assert not odd, odd


# --- tables ---


def check_markdown(tables, found):
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(found)
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "text_special"}, {child.type for child in inline}
    assert {token.tag for token in tokens} <= {"", "h3", "table", "thead", "tbody", "tr", "th", "td", "p"}
    texts = ["".join(child.content for child in token.children) for token in tokens if token.type == "inline"]
    wanted = [text for made in tables for text in (made.title, *(cell for row in made.texts for cell in row), *made.below)]
    assert [text for text in texts if text] == [line for text in wanted if (line := shown(text))]
    assert sum(token.type in ("th_open", "td_open") for token in tokens) == sum(
        len(row) for made in tables for row in made.texts
    )
    assert not re.search(r"\w://|\bwww\.|@\w", found)
    assert_no_control_characters(found)


def check_csv(tables, found):
    head, *rows = csv.reader(found.splitlines())
    assert len(rows) == sum(len(made.rows) for made in tables)
    assert {len(row) for row in rows} == {len(head)} == {len(set(head))}
    values = [cell.value for made in tables for cells in made.rows for cell in cells]
    numbers = {str(rounded(value)) for value in values if not isinstance(value, str)}
    for part in (part for row in (head, *rows) for field in row if field not in numbers for part in re.split("[,;]", field)):
        assert part.lstrip(' "')[:1] not in tuple("=+-@\t\r\uff1d"), part
    assert_no_control_characters(found)


def check_json(tables, found):
    read = json.loads(found)["tables"]
    assert [row["title"] for row in read] == [shown(made.title) for made in tables]
    for got, made in zip(read, tables, strict=True):
        assert got["caption"] == [shown(line) for line in made.caption]
        assert len(got["rows"]) == len(made.rows)
        for values, row in zip(got["rows"], made.rows, strict=True):
            assert list(values) == list(dict.fromkeys(map(shown, made.columns)))
            assert [values[shown(made.columns[0])]] == [shown(row[0].value)]
    assert_no_control_characters(found)


OURS = {"begin", "end", "caption", "hline", "par", "textbackslash", "textasciitilde", "textasciicircum", "pm"}
LATEX = re.compile(r"\\([A-Za-z]+|[^A-Za-z])|[{}&%$#^_~\[\]*\n]|[^\\{}&%$#^_~\[\]*\n]+")


def check_latex(tables, found):
    depth, columns, rows = 0, 0, []
    assert "".join(token[0] for token in LATEX.finditer(found)) == found
    for token in LATEX.finditer(re.sub(r"\$(\\pm|[<>|])\$|\{[\[\]*]\}", "x", found)):
        if token[1] and token[1].isalpha():
            assert token[1] in OURS, token[0]
        elif token[1] == "\\":
            assert re.match(r" *\n(?!\s*[\[*])", token.string[token.end() :])
            rows.append(columns)
            columns = 0
        elif token[1]:
            assert token[1] in "&%$#_{}", token[0]
        elif token[0] in "{}":
            depth += 1 if token[0] == "{" else -1
            assert 0 <= depth <= 2
        elif token[0] == "&":
            columns += 1
        else:
            assert token[0] == "\n" or not set(token[0]) & set("%$#^_~[]*"), token[0]
    assert depth == 0
    assert rows == [len(made.columns) - 1 for made in tables for _ in range(len(made.rows) + 1)]
    assert found.count("\\begin") == found.count("\\end{") == 2 * len(tables)
    assert_no_control_characters(found)


def check_rich(tables, found):
    assert_no_control_characters(found)
    assert found.count("─\n") + found.count("─ \n") >= len(tables)


CHECKS = {"md": check_markdown, "csv": check_csv, "json": check_json, "latex": check_latex, "rich": check_rich}


@pytest.mark.parametrize("form", CHECKS)
def test_tables_show_any_text_as_text(trials, form):
    for trial in trials("injection", f"tables, {form}", few=12, full=600):
        with trial:
            tables = hostile_tables(trial.random)
            CHECKS[form](tables, render(tables, form))


# --- terminals ---


def test_terminals_are_not_controlled_by_files_and_their_names(trials, capsys, tmp_path):
    show_messages()
    for trial in trials("injection", "terminals", few=12, full=300):
        folder = tmp_path / str(trial.index)
        with trial:
            spoil(folder, trial.random)
            capsys.readouterr()
            try:
                table(folder, form="rich", cell=trial.random.choice([None, "fp16,b4", "b1"]))
            except TrtzooError as error:  # nothing of that name was left
                assert_no_control_characters(one_line(error))
            out, err = capsys.readouterr()
            assert_no_control_characters(out, "\n\t")
            assert_no_control_characters(err)
            known = (
                r"skipped: |'fp16,b4' selects|'b1' selects|.* has no results\.|Nothing was measured for [\w, ]+\. To measure: "
            )
            assert all(re.match(known, line) for line in err.splitlines()), err


def spoil(folder, random):
    """A folder of results and evaluations, some damaged, in files with hostile names."""
    for found in (*hostile_results(random), *(record(row, random) for row in EVALUATIONS)):
        place = folder / name(random) / ("accuracy" if isinstance(found, Evaluation) else "")
        place.mkdir(parents=True, exist_ok=True)
        data = encode(found)
        if random.random() < 0.3:
            data = data.replace(b'"', random.choice([b"", b"\xff", b'"\\u001b']), random.randrange(40))
        (place / f"{name(random)}.json").write_bytes(data)


def test_what_is_known_of_a_number_is_a_line_a_fact(trials, capsys, tmp_path):
    show_messages()
    for trial in trials("injection", "one number", few=12, full=300):
        with trial:
            found = record(RESULTS[3], trial.random)
            path = tmp_path / str(trial.index) / "d" / f"{name(trial.random)}.json"
            path.parent.mkdir(parents=True)
            path.write_bytes(encode(found))
            table(path.parents[1], cell="dpn131")
            out, err = capsys.readouterr()
            assert_no_control_characters(out, "\n\t")
            assert err == ""
            assert [line.split("  ")[0] for line in out.splitlines()] == [
                fact[:18].rstrip() for fact in explain(Found(path, found))
            ]


# --- the page ---


class Elements(html.parser.HTMLParser):
    """The elements of a page with the names of their attributes, and the content of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.raw, self.policy, self.comments = [], [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, *(key for key, _ in attributes)))
        given = dict(attributes)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in ("script", "style"):
            self.raw.append("")
        assert not any(key.startswith("on") or key in ("src", "style", "srcdoc") for key in given), given
        assert given.get("href") in (None, "data:,", "#cells"), given

    def handle_data(self, data):
        if self.found and self.found[-1][0] in ("script", "style") and self.raw:
            self.raw[-1] += data

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.found.append(("/",))

    def handle_comment(self, data):
        self.comments.append(data)


@pytest.fixture
def page(monkeypatch):
    """A function that makes the page; the library in it is bundled once."""
    import vl_convert

    library = "const vegaEmbed = 1;"
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: library)
    from trtzoo.report.page.page import page

    return page


def test_the_page_has_no_element_attribute_or_script_of_a_file(trials, page):
    for trial in trials("injection", "page", few=4, full=300):
        with trial:
            random = trial.random
            verdict_row = hostile_verdict(random)
            results = [*hostile_results(random), result_of(verdict_row)]
            found = [Found(Path(name(random), f"{name(random)}\udcff.json"), result) for result in results]
            evaluations = [record(row, random) for row in EVALUATIONS]
            complaints = [text(random) for _ in range(3)]
            made = page(found, evaluations, complaints, folder=Path(name(random)), verdicts=[verdict_row]).decode()
            plain = page(
                [Found(Path("a/b.json"), row.result) for row in found],
                evaluations,
                ["a", "b", "c"],
                folder=Path("benchmarks"),
                verdicts=[verdict_row],
            )
            check_page(made, Elements(plain.decode()))


def check_page(made, plain):
    read = Elements(made)
    assert {row[0] for row in read.found} <= ELEMENTS, {row[0] for row in read.found} - ELEMENTS
    assert read.found == plain.found
    assert not read.comments
    style, data, *scripts = read.raw
    hashes = [base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode() for raw in (style, *scripts)]
    assert re.findall("sha256-([^']*)", read.policy) == [hashes[1], hashes[2], hashes[0]]
    assert len(scripts) == 2 and "http" not in read.policy and "unsafe" not in read.policy
    assert "<" not in data
    json.loads(data)
    assert_no_control_characters(made, "\n\t")


ELEMENTS = {"/", *re.findall("<([a-z0-9]+)", (Path(trtzoo.__file__).parent / "report/page/assets/page.html").read_text())}


# --- figures ---


def test_figures_show_any_text_as_text(trials, tmp_path):
    for trial in trials("injection", "figures", few=2, full=100):
        with trial, warnings.catch_warnings():
            warnings.simplefilter("error")
            fitting = [record(run(batch=4), trial.random), record(run(model="dpn92", batch=4, device=DEVICE), trial.random)]
            picture = pictures(fitting, [record(row, trial.random) for row in EVALUATIONS])[2]
            png, svg = write(picture, tmp_path)
            assert png.read_bytes().startswith(b"\x89PNG")
            tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(svg).iter()}
            assert tags <= {
                "svg",
                "metadata",
                "RDF",
                "Work",
                "type",
                "format",
                "defs",
                "style",
                "g",
                "path",
                "use",
                "clipPath",
                "rect",
            }
            assert "\x1b" not in svg.read_text()


def test_the_hostile_records_are_records(trials):
    """The campaign's own records reach the tables: nothing of them is refused."""
    for trial in trials("injection", "records", few=3, full=3):
        with trial:
            for found in hostile_results(trial.random):
                assert isinstance(found, Result) and is_plain(found.device.key)
