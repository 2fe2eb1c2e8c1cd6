"""A user's day on a Tesla T4 that is at its power limit all the time: the README's commands, from a bare driver to the page.

The later tests measure dpn68 for images of 32x32, whose queries are short.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from itertools import count

import pytest

from tests.benchmark.trtexec_files import query, write
from tests.photographs import class_folders
from tests.rehearsal.box import CAPPED, Machine, unpack
from trtzoo.core.statistics import summarise

pytestmark = pytest.mark.network
SMALL = ("--onnx-dir", "small", "--engines-dir", "small")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """The box after `make table` for one model."""
    box = unpack(tmp_path_factory.mktemp("t4"), Machine("t4", nvml=CAPPED))
    box.made = box.run("make", "table", "MODELS=dpn68", "BATCH=1,4", "BENCH=--seconds 0.5")
    return box


@pytest.fixture(scope="module")
def small(box):
    """`small(options)` measures dpn68 for 32x32 at batch 1 into a new folder: the process, the result and the folder's name."""
    export = ("export", "dpn68", "--precision", "fp32,fp16", "--weights", "seeded", "--input-size", "32")
    box.trtzoo(*export, "--onnx-dir", "small")
    for path in (box.folder / "small").glob("dpn68-*-s32.[oj]*"):
        path.rename(path.with_name(path.name.replace("-s32", "")))
    box.trtzoo("build", "dpn68", "--batch", "1", *SMALL)
    numbers = count()

    def bench(*options, code=0, core=None, **env):
        folder, pin = f"small-{next(numbers)}", [] if core is None else ["taskset", "--cpu-list", core]
        words = ("bench", "dpn68", "--batch", "1", *SMALL, "--results", folder, *options)
        done = box.run(*pin, box.folder / ".venv" / "bin" / "trtzoo", *words, code=code, **env)
        (path,) = (box.folder / folder).glob("*/*.json")
        return done, json.loads(path.read_text()), folder

    return bench


def test_make_table_installs_the_packages_that_fit_the_driver(box):
    assert "580.65.06, CUDA 13.0" in box.made.stderr
    report = json.loads(box.trtzoo("doctor", "--format", "json").stdout)
    abilities = {row["name"]: row["why"] for row in report["abilities"] if row["can"]}
    assert abilities["build for this GPU"] == "TensorRT 11.4.0 for Tesla T4 (emulated): fp32, fp16, int8"
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


def test_a_verdict_is_on_both_engines_in_turns_with_their_memory_and_their_power_cap_is_no_disturbance(box):
    words = (
        "verdict",
        "dpn68",
        "--precision",
        "fp16",
        "--batch",
        "1",
        "--protocol",
        "trial",
        "--runs",
        "2",
        "--format",
        "json",
    )
    speed, accuracy = json.loads(box.trtzoo(*words, "--results", "judged").stdout)["tables"]
    (row,), (other,) = speed["rows"], accuracy["rows"]
    assert row["verdict"] in ("PAYS (speed only)", "DOES NOT PAY (speed only)", "UNCLEAR (speed only)")
    assert 0 < row["from"] < row["ratio"] < row["to"] and "power cap" not in speed["marked"][0]["note"]
    assert other["memory MiB"] > 0 < other["FP32 memory MiB"] and other["MB"] > 0 and other["images"] == 4
    (path,) = (box.folder / "judged").glob("tesla-t4-emulated/verdicts/*.json")
    record = json.loads(path.read_text())
    assert record["case"]["cuda_graph"] is True and record["case"]["runtime"] == "tensorrt"


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
    box.trtzoo(*bench, TRTZOO_EMULATED_FAULTS="cuStreamEndCapture:1:901:lasting")
    ((name, result),) = results_of(box.folder / "uncaptured").items()
    assert "graph" not in name and result["case"]["cuda_graph"] is False
    shown = box.trtzoo("table", "--results", "uncaptured", "--format", "md").stdout
    assert "Tesla T4 (emulated), tensorrt, no CUDA graph" in shown


def test_a_flushed_cache_is_a_case_of_its_own(box):
    before = results_of(box.folder / "benchmarks")
    bench = ("bench", "dpn68", "--batch", "1", "--seconds", "0.5", "--flush-l2")
    box.trtzoo(*bench)
    after = results_of(box.folder / "benchmarks")
    (new,) = after.keys() - before.keys()
    assert "flush" in new
    assert {name: after[name] for name in before} == before
    done = box.trtzoo(*bench, "--results", "unflushed", code=1, TRTZOO_EMULATED_FAULTS="cuMemsetD8Async:9:999")
    assert "cuMemsetD8Async failed" in done.stdout  # before a query, which has no such call of its own


def test_an_engine_that_fails_ends_neither_the_other_builds_nor_the_measurements(box):
    (box.folder / "engines" / "t4emulated" / "tensorrt-11.4.0" / "dpn68-fp32-b2.engine").mkdir()
    done = box.run("make", "table", "MODELS=dpn68", "BATCH=1,2", "BENCH=--seconds 0.5 --resume", code=2)
    assert "dpn68-fp32-b2.engine" in done.stderr
    results = results_of(box.folder / "benchmarks")
    assert results["dpn68-fp16-b2-tensorrt-trtzoo-graph-seeded"]["samples"]
    assert "dpn68 fp16 b2" not in done.stderr


def test_a_power_cap_of_both_sides_is_a_condition_and_disturbs_nothing(box):
    told = " ".join(box.trtzoo("compare", "benchmarks/tesla-t4-emulated", "again", code=None).stdout.split())
    assert "power cap" in told
    assert "left out" not in told


# --- one test for each mistake that this day once met ---


def copies(box, folder, pace=1.0, begin=0, **changed):
    """Five copies of the box's first result as five runs, `pace` times as slow, in a folder; `changed` fields of the result.

    Their samples are 100 of its median one, within 0.5 %, so that a busy machine's noise decides nothing.
    """
    path = box.folder / "benchmarks" / "tesla-t4-emulated" / "dpn68-fp32-b1-tensorrt-trtzoo-graph-seeded.json"
    result = json.loads(path.read_text()) | {"other_load": 0.0} | changed
    assert result["gpu_state"]["reasons"] == {"software power cap": result["gpu_state"]["readings"]}
    (box.folder / folder).mkdir()
    median = sorted(result["samples"])[len(result["samples"]) // 2]
    for number in range(5):
        factor = pace * (1 + number / 1000)
        samples = [[part * factor * (1 + (at % 11 - 5) / 1000) for part in median] for at in range(100)]
        run = result | {"started": f"2026-11-24T{begin + number:02}:00:00+00:00", "samples": samples}
        (box.folder / folder / f"{number}.json").write_text(json.dumps(run))
    return folder


def test_a_slowdown_closes_the_gate_although_every_run_is_power_capped(box):
    steady, same = copies(box, "steady"), copies(box, "same", begin=6)
    slower = copies(box, "slower", pace=1.25, begin=12)
    done = box.trtzoo("compare", steady, slower, "--gate", "3%", code=1)
    assert "1 of 1 cells are slower by more than 3%" in done.stderr
    assert "SLOWER" in done.stdout and "proves nothing" not in done.stdout
    box.trtzoo("compare", steady, same, "--gate", "3%")


def test_programs_on_other_cores_of_a_large_machine_disturb_nothing(box):
    """Two busy cores are many of four, and few of 64."""
    for cores, proven in ((4, False), (64, True)):
        busy = {"other_load": 2.0, "available_cores": cores}
        sides = copies(box, f"before-{cores}", **busy), copies(box, f"after-{cores}", pace=1.25, begin=12, **busy)
        told = " ".join(box.trtzoo("compare", *sides, "--gate", "3%", code=1 if proven else 0).stdout.split())
        assert ("other programs used 2.0 cores" in told) != proven


def test_only_the_cores_that_bench_may_use_count(small):
    """Another program keeps this core busy, and one another."""
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    spin = ("taskset", "--cpu-list")
    busy = [subprocess.Popen([*spin, core, sys.executable, "-c", "while True: pass"]) for core in {cores[0], cores[-1]}]
    try:
        _, result, _ = small("--seconds", "0.5", core=cores[0])
    finally:
        for other in busy:
            other.kill()
            other.wait()
    assert result["available_cores"] == 1
    assert result["other_load"] < 1.25  # of one core


def test_the_time_limit_of_a_case_grows_with_its_sampling(box, small):
    """In a copy of trtzoo whose ten minutes are eight seconds, ten seconds of sampling end well."""
    hurried = box.folder / "hurried" / "trtzoo"
    shutil.copytree(box.folder / "trtzoo", hurried)
    sweep = (hurried / "benchmark" / "sweep.py").read_text()
    assert "TIMEOUT = 600.0" in sweep
    (hurried / "benchmark" / "sweep.py").write_text(sweep.replace("TIMEOUT = 600.0", "TIMEOUT = 8.0"))
    _, result, _ = small("--protocol", "trial", "--seconds", "10", PYTHONPATH=str(hurried.parent))
    assert sum(total for total, *_ in result["samples"]) >= 10


def test_a_median_lies_inside_its_interval(small):
    """The host wakes 20 ms after the GPU is ready, so that the time of the whole query is another one than trtexec11's."""
    done, result, _ = small("--protocol", "trtexec11", "--seconds", "1", TRTZOO_EMULATED_WAKE="20")
    ((value, low, high),) = re.findall(r" ([\d.]+) ms \[([\d.]+), ([\d.]+)\]", done.stdout)
    assert float(low) <= float(value) <= float(high)
    assert min(total for total, *_ in result["samples"]) > 0.02
    spread = summarise([compute for _, compute, *_ in result["samples"]]).spread
    told = re.findall(r"the standard deviation is (\d+%) of the mean", " ".join(done.stdout.split()))
    assert told == ([f"{spread:.0%}"] if spread > 0.025 else [])


def columns(box, folder, title):
    """The header of the table with this title, of the results in a folder."""
    _, _, rest = box.trtzoo("table", "--results", folder, "--format", "md").stdout.partition(f"### {title}")
    found = rest.split("\n\n")[1].splitlines()[0]
    assert found.startswith("| Model |")
    return found


def test_seconds_lengthen_the_published_protocol_and_an_emulated_card_has_no_published_number(box, small):
    """The host wakes 10 ms late: after a query, and when the cache is flushed, which is no part of a query's time."""
    _, usual, _ = small("--protocol", "paddle2020", TRTZOO_EMULATED_WAKE="10")
    times = [total for total, *_ in usual["samples"]]
    assert len(times) == 500 and min(times) > 0.01
    seconds = math.ceil(1.3 * sum(times))
    flushed = ("--protocol", "paddle2020", "--flush-l2", "--seconds", seconds)
    _, result, folder = small(*flushed, TRTZOO_EMULATED_WAKE="10")
    longer = [total for total, *_ in result["samples"]]
    assert sum(longer) >= seconds and min(longer) < min(times) + 0.006
    explained = box.trtzoo("table", "--results", folder, "--explain", "dpn68").stdout
    assert "Tesla T4 (emulated)" in explained and "Published" not in explained
    assert "ratio" not in columns(box, folder, "Latency in ms, FP32, on Tesla T4 (emulated), tensorrt, paddle2020")


def test_an_import_keeps_trtexecs_queries_and_layers_and_has_no_ratio(box):
    """trtexec leaves its warm-up out, so the queries of the first 200 ms are measurements."""
    times = write(box.folder / "times.json", [query(start=50 * index) for index in range(8)])
    layers = [{"count": 8}, {"name": "conv0", "averageMs": 3.0}, {"name": "pool0", "averageMs": 1.0}]
    profile = write(box.folder / "profile.json", layers)
    case = ("--model", "dpn68", "--gpu", "t4", "--precision", "fp32", "--batch", "1", "--results", "imported")
    done = box.trtzoo("import", times, *case, "--tensorrt", "10.13.2", "--profile", profile)
    assert "8 queries, 2 layers" in done.stdout
    explained = box.trtzoo("table", "--results", "imported", "--explain", "dpn68").stdout
    assert "conv0 3.000 ms (75.0%)" in explained
    assert "on Tesla T4" in explained and "measured / published" not in explained
    assert "ratio" not in columns(box, "imported", "Inference speed on Tesla T4, FP32, in ms, Tesla T4, trtexec, trtexec10")


def test_cards_of_one_name_have_engines_of_their_own(box, small):
    build = ("build", "dpn68", "--batch", "1", "--onnx-dir", "small", "--engines-dir", "cards")
    cards = [{"TRTZOO_EMULATED_GPUS": f"rtx3080-{size}gb"} for size in (10, 12)]
    for card in cards:
        assert "up to date" not in box.trtzoo(*build, **card).stdout
    done, _, _ = small("--engines-dir", "cards", code=1, **cards[0])
    built = "was built on NVIDIA GeForce RTX 3080 (emulated), 12 GB; this GPU is NVIDIA GeForce RTX 3080 (emulated), 10 GB"
    assert built in " ".join(done.stdout.split())


def test_fp32_on_a_gpu_is_allowed_winograds_error_and_no_more(small):
    """NVIDIA/TensorRT #2691 has an engine that is off by 4.5e-5."""
    _, result, _ = small("--seconds", "0.1", TRTZOO_EMULATED_ERROR="4.5e-5")
    assert result["check"]["error"] > 4e-5
    _, result, _ = small("--seconds", "0.1", code=1, TRTZOO_EMULATED_ERROR="1e-4")
    assert result["failure"]["kind"] == "wrong-output"
    _, result, _ = small("--gpu", "cpu", "--protocol", "trial", "--seconds", "0.1")
    assert result["check"]["tolerance"] == 2e-5


def test_tensorrt_8_computes_grouped_convolutions_in_fp16(box, small):
    old = {"TRTZOO_EMULATED_TENSORRT": "8.6.1"}
    done = box.trtzoo("build", "dpn68", "--precision", "fp16", "--batch", "1", *SMALL, **old)
    (path,) = re.findall(r"\S+\.engine", done.stdout)
    layers = json.loads((box.folder / path).with_suffix(".json").read_text())["layers"]
    assert layers["source"] == "inspector" and list(layers["compute"]) == ["FP16"]
    _, result, _ = small("--precision", "fp16", "--seconds", "0.5", **old)
    assert result["versions"]["tensorrt"] == "8.6.1" and result["check"]["error"] < result["check"]["tolerance"]


def test_trtexecs_command_measures_the_same_and_tensorrts_warnings_are_kept(box, small):
    printed = box.trtzoo("bench", "dpn68", "--batch", "1", "--protocol", "trtexec10", "--print-trtexec").stdout
    assert "--noCudaGraph --noSpinWait --includeDataTransfers" in printed.splitlines()[1]
    done, result, _ = small("--seconds", "0.5", CUDA_MODULE_LOADING="EAGER")
    assert "TensorRT warns: CUDA lazy loading is not enabled." in done.stderr
    assert result["opening"]["notes"] == ["CUDA lazy loading is not enabled."]
