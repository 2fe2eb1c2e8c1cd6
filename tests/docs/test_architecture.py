"""Every worked example of docs/architecture.md works as it is written."""

import pytest

from tests.docs.examples import follow, sections
from trtzoo.core.files import read_record
from trtzoo.core.records import Result

EXAMPLES = sections()
pytestmark = pytest.mark.usefixtures("known_peak")


def results(folder):
    """The results that an example's commands left."""
    files = sorted(folder.glob("benchmarks/*/*.json"))
    return [read_record(path, Result) for path in files]


def test_there_is_an_example_for_each_thing_that_is_a_row():
    assert list(EXAMPLES) == ["A precision", "A GPU", "A runtime", "A protocol", "A table column", "A model"]


def test_a_new_precision_is_exported_and_measured(tmp_path):
    follow(EXAMPLES["A precision"], tmp_path)
    (result,) = results(tmp_path)
    assert (result.case.precision, result.failure) == ("fp16-tight", None)
    assert result.check.error <= result.check.tolerance == 6e-3


def test_an_engine_is_built_for_a_new_gpu(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    follow(EXAMPLES["A GPU"], tmp_path)
    (engine,) = tmp_path.glob("engines/rtx4000ada/*/dpn68-fp32-b1.engine")
    assert engine.stat().st_size > 10_000_000


def test_a_new_runtime_is_checked_and_measured(tmp_path):
    follow(EXAMPLES["A runtime"], tmp_path)
    (result,) = results(tmp_path)
    assert (result.case.runtime, result.failure) == ("onnxruntime-plain", None)
    assert result.settings == {"graph optimisations": "off"}


def test_a_new_protocol_is_measured_by_and_named_in_the_table(tmp_path):
    *_, table = follow(EXAMPLES["A protocol"], tmp_path)
    (result,) = results(tmp_path)
    assert result.case.protocol == "quick"
    assert "Protocol quick: median of end to end; one warm-up query" in table


def test_a_new_column_stands_in_the_table(tmp_path):
    (table,) = follow(EXAMPLES["A table column"], tmp_path)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert lines[0][-1] == "FLOPs per parameter"
    assert lines[2][0] == "densenet121" and lines[2][-1] == "710"


def test_a_new_model_is_counted_exported_and_measured(tmp_path):
    counted, *_ = follow(EXAMPLES["A model"], tmp_path)
    (row,) = [line for line in counted.splitlines() if line.startswith("| densenet77 ")]
    assert row.startswith("| densenet77 | 4.72 |") and "| 3.80 |" in row
    (result,) = results(tmp_path)
    assert (result.case.model, result.failure) == ("densenet77", None)
