"""`trtzoo report` as a user runs it."""

import sys
from pathlib import Path

import pytest

from tests.report.pages import written
from tests.report.runs import run
from trtzoo.cli.showing import report
from trtzoo.core.errors import MachineError


def test_the_page_is_written_and_its_size_printed(trtzoo, tmp_path):
    written(tmp_path / "benchmarks", [run()])
    done = trtzoo("report")
    assert (done.returncode, done.stderr) == (0, "")
    size = (tmp_path / "report.html").stat().st_size
    assert done.stdout == f"report.html  1 result, {size / 1e6:.2f} MB\n"
    assert "dpn68-fp32-b1-onnxruntime-trtzoo.json" in (tmp_path / "report.html").read_text()


def test_the_options_decide_where_results_and_page_are(trtzoo, tmp_path):
    written(tmp_path / "elsewhere", [run(), run(batch=4)])
    done = trtzoo("report", "--results", "elsewhere", "--out", "new/page.html")
    assert done.returncode == 0 and done.stdout.startswith("new/page.html  2 results, ")
    assert "2 results from <code>elsewhere</code>" in (tmp_path / "new" / "page.html").read_text()


def test_a_page_without_results_shows_the_published_numbers(trtzoo, tmp_path):
    done = trtzoo("report")
    assert done.returncode == 0
    assert "benchmarks has no results. To measure: trtzoo bench --all --gpu auto" in done.stderr
    assert "only the published numbers are shown" in (tmp_path / "report.html").read_text()


def test_a_damaged_file_is_reported_on_the_page_and_on_stderr(trtzoo, tmp_path):
    written(tmp_path / "benchmarks", [run()])
    (tmp_path / "benchmarks" / "a-cpu-2c" / "bad.json").write_text("{")
    done = trtzoo("report")
    assert done.returncode == 1
    assert "skipped: benchmarks/a-cpu-2c/bad.json is damaged" in done.stderr
    text = (tmp_path / "report.html").read_text()
    assert "benchmarks/a-cpu-2c/bad.json is damaged" in text and "dpn68-fp32-b1-onnxruntime-trtzoo.json" in text


@pytest.mark.parametrize("out", ["folder", "file/page.html"])
def test_a_page_that_cannot_be_written_is_one_sentence(trtzoo, tmp_path, out):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    done = trtzoo("report", "--out", out)
    assert done.returncode == 1
    assert f"trtzoo: {out} could not be written: " in done.stderr and "Traceback" not in done.stderr
    assert list((tmp_path / "folder").iterdir()) == [] and (tmp_path / "file").read_text() == "a file"


def test_a_missing_plotting_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MachineError, match=r"pip install 'trtzoo\[report\]'"):
        report(Path("nowhere"), Path("report.html"))
