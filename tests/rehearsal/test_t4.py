"""A user's day on a Tesla T4 that is at its power limit all the time: the README's commands, from a bare driver to the page."""

import json
import re

import pytest

from tests.photographs import class_folders
from tests.rehearsal.box import CAPPED, Machine, unpack

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """The box after `make table` for one model."""
    box = unpack(tmp_path_factory.mktemp("t4"), Machine("t4", nvml=CAPPED))
    box.made = box.run("make", "table", "MODELS=dpn68", "BATCH=1,4", "BENCH=--seconds 0.5")
    return box


def test_make_table_installs_the_packages_that_fit_the_driver(box):
    assert "580.65.06, CUDA 13.0" in box.made.stderr
    report = json.loads(box.trtzoo("doctor", "--format", "json").stdout)
    abilities = {row["name"]: row["why"] for row in report["abilities"] if row["can"]}
    assert abilities["build for this GPU"] == "TensorRT 11.4.0 for Tesla T4 (emulated)"
    assert abilities["run engines"] == "TensorRT on Tesla T4 (emulated)"


def test_make_table_builds_and_measures_fp32_and_fp16(box):
    results = [json.loads(path.read_text()) for path in (box.folder / "benchmarks").glob("tesla-t4-emulated/*.json")]
    assert sorted((row["case"]["precision"], row["case"]["batch"]) for row in results) == [
        ("fp16", 1),
        ("fp16", 4),
        ("fp32", 1),
        ("fp32", 4),
    ]
    assert {row["device"]["name"] for row in results} == {"Tesla T4 (emulated)"}
    assert not any(row.get("failure") for row in results)


def test_make_table_writes_tables_figures_and_the_page(box):
    tables = (box.folder / "benchmarks" / "TABLES.md").read_text()
    assert "Tesla T4 (emulated)" in tables
    assert list((box.folder / "benchmarks" / "plots").iterdir())
    assert "Tesla T4 (emulated)" in (box.folder / "benchmarks" / "report.html").read_text()


def test_parity_judges_the_engines_against_pytorch(box):
    done = box.trtzoo("parity", "dpn68", "--precision", "fp32,fp16", "--batch", "1", "--limit", "4", "--format", "json")
    assert done.stderr.count("passes") == 2


CHECKPOINT = """
import torch
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, build_network
torch.save(seed(build_network(MODELS["dpn68"], classes=10)).state_dict(), "mine.pth")
"""


def test_eval_measures_the_accuracy_of_an_engine_of_the_users_own_checkpoint(box):
    class_folders(box.folder / "photographs", classes=10, each=1)
    box.pip("--editable", ".[eval]")
    box.run(box.folder / ".venv" / "bin" / "python", "-c", CHECKPOINT)
    box.trtzoo("export", "dpn68", "--weights", "mine.pth", "--classes", "10", "--input-size", "32")
    (engine,) = re.findall(r"\S+\.engine", box.trtzoo("build", "--onnx", "onnx/dpn68-fp32-c10-s32.onnx", "--batch", "4").stdout)
    box.trtzoo("eval", "--onnx", engine, "--data", "photographs")
    records = [json.loads(path.read_text()) for path in (box.folder / "benchmarks").glob("*/accuracy/*.json")]
    assert [(row["images"], row["device"]["name"]) for row in records] == [(10, "Tesla T4 (emulated)")]


def test_a_second_measurement_compares_with_the_first(box):
    box.trtzoo("bench", "dpn68", "--batch", "1", "--seconds", "0.5", "--results", "again")
    done = box.trtzoo("compare", "benchmarks/tesla-t4-emulated", "again", code=None)
    assert "Tesla T4 (emulated)" in " ".join(done.stdout.split())
    assert "dpn68 fp32 b1" in done.stdout and "skipped" not in done.stderr


def results_of(folder):
    """The results in a folder by the name of their file."""
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*/*.json")}


def test_a_graph_that_cannot_be_captured_is_not_called_a_cuda_graph(box):
    bench = ("bench", "dpn68", "--batch", "1", "--seconds", "0.5", "--results", "uncaptured")
    box.env["TRTZOO_EMULATED_FAULTS"] = "cuStreamEndCapture:1:901:lasting"
    try:
        box.trtzoo(*bench)
    finally:
        del box.env["TRTZOO_EMULATED_FAULTS"]
    ((name, result),) = results_of(box.folder / "uncaptured").items()
    assert "graph" not in name and result["case"]["cuda_graph"] is False
    shown = box.trtzoo("table", "--results", "uncaptured", "--format", "md").stdout
    assert "Tesla T4 (emulated), tensorrt, no CUDA graph" in shown


def test_a_flushed_cache_is_a_case_of_its_own(box):
    before = results_of(box.folder / "benchmarks")
    box.trtzoo("bench", "dpn68", "--batch", "1", "--seconds", "0.5", "--flush-l2")
    after = results_of(box.folder / "benchmarks")
    (new,) = after.keys() - before.keys()
    assert "flush" in new
    assert {name: after[name] for name in before} == before


def test_an_engine_that_fails_stops_nothing_else(box):
    (box.folder / "onnx" / "densenet121-fp32.onnx").write_bytes(b"not a graph")
    (box.folder / "onnx" / "densenet121-fp32.json").unlink(missing_ok=True)
    done = box.trtzoo("build", "densenet121", "dpn68", "--batch", "1,2", code=1)
    assert "dpn68-fp32-b2.engine" in done.stdout and "densenet121" in done.stderr


def test_a_power_cap_of_both_sides_is_a_condition_and_disturbs_nothing(box):
    told = " ".join(box.trtzoo("compare", "benchmarks/tesla-t4-emulated", "again", code=None).stdout.split())
    assert "power cap" in told
    assert "left out" not in told
