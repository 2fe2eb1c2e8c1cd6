"""The page as a file: which scripts may run, what it contains, and that all text is escaped."""

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.report.judged import judged, result_of
from tests.report.pages import EVIL, varied, written
from tests.report.results import DEVICE
from tests.report.runs import WEIGHTS, run
from trtzoo.benchmark.protocols import reported_latency
from trtzoo.models.table import MODELS
from trtzoo.report.audit import findings
from trtzoo.report.page.page import page
from trtzoo.report.results import Found


class Read(html.parser.HTMLParser):
    """The elements of a page, the text of scripts and styles, and the rows of its first table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.raw, self.rows, self.policy = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in ("script", "style"):
            self.raw.append([given.get("type", tag), ""])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.tags[-1:] in (["script"], ["style"]):
            self.raw[-1][1] += data
        elif self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        self.tags.append("/" + tag)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return written(tmp_path_factory.mktemp("results"), varied())


@pytest.fixture(scope="module")
def text(found):
    return page(found, [], [f"bad.json is damaged: {EVIL}"], folder=Path("benchmarks")).decode()


def data(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_only_the_pages_own_scripts_and_style_may_run_and_no_host_is_allowed(text):
    read = Read(text)
    policy = dict(part.split(" ", 1) for part in read.policy.split("; "))
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode()}'" for _, raw in read.raw]
    kinds = [kind for kind, _ in read.raw]
    assert kinds == ["style", "application/json", "module", "module"]
    assert (policy["style-src"], policy["script-src"].split()) == (hashes[0], hashes[2:])
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert not re.search("https?:|unsafe|[*]", read.policy)


def test_no_text_of_a_result_is_markup(text):
    read = Read(text)
    assert "img" not in read.tags
    assert read.tags.count("script") == 3
    assert EVIL in " ".join(" ".join(row) for row in read.rows)
    assert EVIL not in text


def test_no_text_of_a_result_ends_the_data(text):
    notes = [cell.get("note", "") for cell in data(text)["cells"]]
    assert f"error: {EVIL}" in notes
    assert any(EVIL in fact for fact in data(text)["texts"])


def test_every_result_and_every_published_number_has_a_row(text, found):
    rows = [row for row in Read(text).rows if len(row) == 13][1:]
    assert len(rows) == len(found) + 70 == len(data(text)["cells"])
    wanted = {
        (row.result.case.model, str(row.result.case.batch), f"{reported_latency(row.result) * 1e3:.2f}")
        for row in found
        if row.result.samples
    }
    assert wanted <= {(row[0], row[2], row[6]) for row in rows}
    printed = {(row[0], row[1], row[2], row[9]) for row in rows if row[12].strip() == "published"}
    assert ("dpn131", "FP16", "4", "33.01") in printed and ("densenet121", "FP32", "1", "4.37") in printed


def test_each_cell_has_its_file_and_every_fact(text, found):
    found_data = data(text)
    facts = [[found_data["texts"][place] for place in cell["facts"]] for cell in found_data["cells"]]
    named = [dict(zip(words[::2], words[1::2], strict=True)) for words in facts]
    assert {row["File"] for row in named if "File" in row} == {str(row.path) for row in found}
    (paddle,) = [row for row in named if row.get("Weights' sha256") == "a" * 64]
    assert (paddle["Versions"], paddle["Threads"], paddle["Input and output"]) == ("onnxruntime 1.2.3", "2", "FP32")
    assert paddle["Protocol"].startswith("trtzoo: median of end to end")
    assert {row["Source"] for row in named if "Source" in row} == {"PaddleClas, docs/en/models/DPN_DenseNet_en.md"}


def test_the_audit_is_complete_and_wrong_findings_come_first(text):
    plain = Read(text)
    assert plain.tags.count("li") >= len(findings())
    heads = re.findall(r"<h3>(\w+) \((\d+)\)</h3>", text)
    assert [name for name, _ in heads] == ["Wrong", "Doubtful", "Holds"]
    assert sum(int(count) for _, count in heads) == len(findings())


def test_the_exact_and_the_published_counts_are_drawn_for_every_model(text):
    models = {row["model"]: row for row in data(text)["models"]}
    assert set(models) == set(MODELS)
    assert models["dpn68"]["exact"]["params"] == pytest.approx(12.611602)
    assert models["dpn68"]["published"]["params"] == 10.78


def test_a_model_that_was_not_published_has_its_familys_colour(monkeypatch, found):
    monkeypatch.setitem(MODELS, "densenet9", replace(MODELS["densenet121"], name="densenet9"))
    read = data(page(found, [], [], folder=Path("benchmarks")).decode())
    assert read["families"]["densenet9"] == "densenet"
    assert "densenet9" not in {row["model"] for row in read["models"]}


def test_skipped_files_are_named(text):
    assert "1 file was skipped" in text and "bad.json is damaged" in text


def test_a_page_without_results_says_so_and_has_the_published_numbers():
    text = page([], [], [], folder=Path("nowhere")).decode()
    assert "<code>nowhere</code> has no results: only the published numbers are shown." in text
    assert len(data(text)["cells"]) == 70


def test_a_file_whose_name_is_not_text_is_shown(tmp_path):
    path = Path("benchmarks/d/\udcff.json")
    text = page([Found(path, run())], [], [f"{path} is odd"], folder=tmp_path).decode()
    assert any("?" in fact for fact in data(text)["texts"])


def test_equal_results_make_equal_pages(text, found):
    again = page(found[::-1], [], [f"bad.json is damaged: {EVIL}"], folder=Path("benchmarks"))
    assert again.decode() == text


def test_no_control_character_of_a_result_is_on_the_page():
    odd = "a\x1b]0;x\x07\u202e\x9b\ufffe"
    result = run(device=replace(DEVICE, name=odd), weights=replace(WEIGHTS, origin=odd))
    text = page([Found(Path(f"d/{odd}\udcff.json"), result)], [], [odd], folder=Path(odd)).decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ufffe\ud800-\udfff]", text)
    assert any("a?]0;x????, 2 cores" in fact for fact in data(text)["texts"])


def test_a_verdict_is_a_column_where_there_is_one_with_its_reasons_in_the_cell(text, monkeypatch):
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "")
    row = judged(0.5)
    shown = page([Found(Path("x.json"), result_of(row))], [], [], folder=Path("benchmarks"), verdicts=[row]).decode()
    cells = [each for each in Read(shown).rows if len(each) == 14]
    assert cells[0][12].strip() == "Pays" and cells[1][12] == "PAYS" and {each[12] for each in cells[2:]} == {"—"}
    first = data(shown)["cells"][0]["facts"]
    words = [data(shown)["texts"][place] for place in first]
    assert words[words.index("Pays") + 1].startswith("PAYS: faster: ")
    assert "Does it pay? Latency beside FP32" in shown
    assert "Pays" not in text and "Does it pay?" not in text
