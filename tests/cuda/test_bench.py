"""`trtzoo bench --gpu t4` on the emulated driver, with real PyCUDA and the double of TensorRT."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import msgspec
import pytest

from tests.cuda.engines import VERSIONS, emulated
from tests.making import tiny
from trtzoo.artifacts.engines import EngineSidecar, engine_name
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.files import encode, read_record, sidecar_path
from trtzoo.core.records import Result
from trtzoo.exporter.plan import export
from trtzoo.hardware.devices import choose_device, gpu_devices
from trtzoo.hardware.gpu_lock import exclusive_gpu
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import find_model

BATCH = 2


@pytest.fixture
def zoo(driver, tmp_path):
    """dpn68 exported at 64x64, and its engine for a T4 by the double of TensorRT, in the folders that the commands use."""
    order = ExportOrder(model="dpn68", precision="fp32", size=64)
    (done,) = export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), [order], tmp_path / "onnx")
    folder = tmp_path / "engines" / "t4" / f"tensorrt-{VERSIONS['tensorrt']}"
    folder.mkdir(parents=True)
    engine = emulated(folder, done.path, batch=BATCH)
    sidecar = read_record(sidecar_path(engine), EngineSidecar)
    fields = {"model": "dpn68", "golden": done.sidecar.golden, "golden_sha256": done.sidecar.golden_sha256}
    fields |= {"weights": done.sidecar.weights, "inputs": [{"name": "images", "dtype": "FLOAT", "shape": [BATCH, 3, 64, 64]}]}
    fields |= {"outputs": [{"name": "logits", "dtype": "FLOAT", "shape": [BATCH, 1000]}]}
    fields |= {"identity": done.sidecar.identity}
    named = engine.with_name(engine_name(done.sidecar.identity, "fp32", BATCH))
    engine.rename(named)
    shutil.copy(done.path.with_suffix(".npz"), folder)
    sidecar_path(engine).unlink()
    sidecar_path(named).write_bytes(json.dumps(json.loads(encode(sidecar)) | json.loads(msgspec.json.encode(fields))).encode())
    return tmp_path


def results(folder, key="tesla-t4"):
    return [read_record(path, Result) for path in sorted((folder / "benchmarks" / key).glob("*.json"))]


def test_an_engine_is_checked_and_measured_with_all_its_parts(zoo, trtzoo):
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = results(zoo)
    assert result.failure is None and result.check.images == BATCH
    assert result.device.name == "Tesla T4" and result.device.sm == 75
    assert result.case.runtime == "tensorrt" and result.case.cuda_graph
    assert result.case.wait == "spin" and not result.case.flush_l2
    assert result.opening.engine_size and result.opening.first_inference > 0
    assert result.settings["transfers"] == "on" and result.settings["host memory"] == "pinned"
    assert result.weights.source == "seeded" and result.io == "fp32"
    assert all(sample.compute > 0 and sample.total >= sample.compute for sample in result.samples)
    assert "Tesla T4" in trtzoo("table", "--format", "md").stdout


def test_protocols_and_graphs_are_measured_side_by_side(zoo, trtzoo):
    done = trtzoo(
        "bench", "dpn68", "--gpu", "t4", "--batch", BATCH, "--protocol", "trtexec10,trtexec11", "--cuda-graph", "both"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r" ([\d.]+) ms \[([\d.]+), ([\d.]+)\]", done.stdout)
    assert len(lines) == 4 and all(float(low) <= float(value) <= float(high) for value, low, high in lines)
    assert {(result.case.protocol, result.case.cuda_graph) for result in results(zoo)} == {
        ("trtexec10", True),
        ("trtexec10", False),
        ("trtexec11", True),
        ("trtexec11", False),
    }
    resident = [result for result in results(zoo) if result.case.protocol == "trtexec11"]
    assert all(result.settings["transfers"] == "off" for result in resident)
    assert all(sample.h2d == sample.d2h == 0 for result in resident for sample in result.samples)


def test_a_graph_that_cannot_be_captured_is_stored_and_titled_as_what_ran_with_the_reason(zoo, trtzoo):
    bench, env = ["bench", "dpn68", "--gpu", "t4", "--batch", BATCH], {"TRTZOO_EMULATED_FAULTS": "cuStreamEndCapture:1:901"}
    done = trtzoo(*bench, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    reason = "measured without a CUDA graph, which could not be captured (cuStreamEndCapture failed: operation failed due to"
    assert reason in done.stdout
    (path,) = (zoo / "benchmarks" / "tesla-t4").glob("*.json")
    assert path.name == f"dpn68-s64-fp32-b{BATCH}-tensorrt-trtzoo-plain-seeded.json"
    assert results(zoo)[0].case.cuda_graph is False and results(zoo)[0].samples
    table = trtzoo("table", "--format", "md").stdout
    assert "tensorrt, no CUDA graph" in table and "tensorrt, CUDA graph" not in table and reason in table


def test_a_graph_that_was_demanded_and_cannot_be_captured_is_a_failed_row(zoo, trtzoo):
    env = {"TRTZOO_EMULATED_FAULTS": "cuStreamEndCapture:1:901"}
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, "--cuda-graph", "both", env=env)
    assert done.returncode == 1 and "cannot be run as a CUDA graph: cuStreamEndCapture failed" in done.stdout
    failed, plain = results(zoo)
    assert failed.case.cuda_graph and failed.failure and not plain.case.cuda_graph and plain.samples
    assert "cuda graph" in plain.settings and plain.settings["cuda graph"] == "off"


def test_a_cold_cache_and_a_blocking_wait_are_cases_of_their_own(zoo, trtzoo):
    bench = ["bench", "dpn68", "--gpu", "t4", "--batch", BATCH, "--resume"]
    for options in ([], ["--flush-l2"], ["--wait", "block"], ["--flush-l2", "--protocol", "paddle2020"]):
        done = trtzoo(*bench, *options)
        assert done.returncode == 0, done.stdout + done.stderr
    name = f"dpn68-s64-fp32-b{BATCH}-tensorrt"
    assert [path.name for path in sorted((zoo / "benchmarks" / "tesla-t4").glob("*.json"))] == [
        f"{name}-paddle2020-plain-flush-seeded.json",
        f"{name}-trtzoo-graph-block-seeded.json",
        f"{name}-trtzoo-graph-flush-seeded.json",
        f"{name}-trtzoo-graph-seeded.json",
    ]
    titles = [line for line in trtzoo("table", "--format", "md").stdout.splitlines() if "Tesla T4, tensorrt" in line]
    assert [title.partition("tensorrt, ")[2] for title in titles] == [
        "paddle2020, no CUDA graph, L2 flushed",
        "CUDA graph",
        "CUDA graph, blocking wait",
        "CUDA graph, L2 flushed",
    ]
    explained = trtzoo("table", "--explain", "dpn68,flush,trtzoo").stdout
    assert "dpn68,fp32,b2,tesla-t4,tensorrt,trtzoo,graph,flush" in explained


def test_tensorrts_warnings_are_printed_once_and_kept_with_the_cold_start(zoo, trtzoo):
    engine = next((zoo / "engines").rglob("*.engine"))
    plan, sidecar = json.loads(engine.read_bytes()), json.loads(sidecar_path(engine).read_bytes())
    engine.write_bytes(json.dumps(plan | {"warns": ["CUDA lazy loading is not enabled."]}).encode())
    status, digest = engine.stat(), hashlib.sha256(engine.read_bytes()).hexdigest()
    changed = {"sha256": digest, "bytes": status.st_size, "modified": status.st_mtime_ns}
    sidecar_path(engine).write_bytes(json.dumps(sidecar | changed).encode())
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, "--protocol", "trtzoo,trtexec11")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("TensorRT warns: CUDA lazy loading is not enabled.") == 1
    assert [result.opening.notes for result in results(zoo)] == [("CUDA lazy loading is not enabled.",)] * 2
    explained = trtzoo("table", "--explain", "dpn68,trtexec11").stdout
    for fact in ("TensorRT warned", "Cold start", "first inference", "context 0.0 MiB", "memory of all processes 1024 to 1024"):
        assert fact in explained


def test_a_batch_without_an_engine_names_the_build_command(zoo, trtzoo):
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", 16)
    assert done.returncode == 1
    assert "Run: trtzoo build dpn68 --precision fp32 --batch 16" in done.stderr


def test_an_engine_without_its_golden_sample_is_not_measured(zoo, trtzoo):
    next((zoo / "engines").rglob("*.npz")).write_bytes(b"another sample")
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH)
    assert done.returncode == 1
    assert "is missing or belongs to another file" in done.stdout


def test_a_gpu_out_of_memory_is_a_row_with_the_drivers_message(zoo, trtzoo):
    env = {"TRTZOO_EMULATED_FAULTS": "allocation:1:2:lasting"}
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, env=env)
    assert done.returncode == 1
    assert "failed: memory: " in done.stdout
    assert results(zoo)[0].failure.kind == "memory"


def test_a_lost_device_is_a_row_and_the_next_case_runs(zoo, trtzoo):
    env = {"TRTZOO_EMULATED_FAULTS": "work:3:999:lasting"}
    assert trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, env=env).returncode == 1
    assert results(zoo)[0].failure
    assert trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH).returncode == 0


def test_the_gpu_is_monitored_while_it_is_measured(zoo, trtzoo):
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH)
    (state,) = (result.gpu_state for result in results(zoo))
    assert state.readings > 10 and state.sm_clock.low == 1590e6 and state.others == 0 and not state.error
    assert "the GPU" not in done.stdout and "SM clock" not in done.stdout


def test_the_gpus_settings_are_recorded_and_explained(zoo, trtzoo):
    env = {"TRTZOO_EMULATED_NVML": "limit=60000 link=1"}
    assert trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, env=env).returncode == 0
    assert results(zoo)[0].gpu_settings.power_limit == 60.0
    assert (
        "power limit 60 W (default 70 W); highest clocks SM 1590 MHz, memory 5001 MHz; application clocks SM 585 MHz, memory "
        "5001 MHz; ECC on; persistence mode off; compute mode default; PCIe link generation 1 x16 (at most generation 3 x16)"
    ) in trtzoo("table", "--explain", "dpn68").stdout


def test_a_busy_and_throttled_gpu_is_measured_with_warnings(zoo, trtzoo):
    env = {"TRTZOO_EMULATED_NVML": "sm=1590,900 reasons=0,0x42 processes=own+4242"}
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    state = results(zoo)[0].gpu_state
    assert state.others == 1 and state.reasons == {"hardware thermal slowdown": state.readings - 1}
    assert "1 other process has the GPU open, hardware thermal slowdown in " in done.stdout
    assert "the SM clock ran between 900 and 1590 MHz (limit 5%)" in done.stdout


def test_an_nvml_that_dies_is_reported_and_the_measurement_is_kept(zoo, trtzoo):
    env = {"TRTZOO_EMULATED_NVML": "fail=nvmlDeviceGetPowerUsage:3:15"}
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(zoo)[0].samples and results(zoo)[0].gpu_state.error == "NVML: GPU is lost"
    assert "the GPU was monitored for 2 readings only (NVML: GPU is lost)" in done.stdout


def test_a_gpu_is_chosen_by_name_and_never_replaced_by_another(driver):
    assert [device.name for device in gpu_devices()] == ["Tesla T4", "NVIDIA A10"]
    assert choose_device("auto").name == "Tesla T4" and choose_device("cpu").kind == "cpu"
    assert (choose_device("a10").index, choose_device("a10").sm) == (1, 86)
    with pytest.raises(MachineError, match="There is no A100 here: Tesla T4, NVIDIA A10"):
        choose_device("a100")
    with pytest.raises(UsageError, match=r"There is no GPU 't5'. Did you mean t4\?"):
        choose_device("t5")


@pytest.mark.parametrize(
    ("runtime", "sentence"),
    [("onnxruntime-cuda", "has no CUDAExecutionProvider. Run: "), ("pytorch-cuda", "is built without CUDA, or finds no GPU")],
)
def test_a_framework_without_cuda_is_a_failed_row_with_the_reason(zoo, trtzoo, runtime, sentence):
    graph, usual = (zoo / "onnx" / name for name in ("dpn68-fp32-s64.onnx", "dpn68-fp32.onnx"))
    for old, new in ((graph, usual), (sidecar_path(graph), sidecar_path(usual))):
        old.rename(new)
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, "--runtime", runtime)
    assert done.returncode == 1 and sentence in done.stdout, done.stdout + done.stderr
    (result,) = results(zoo)
    assert result.case.runtime == runtime and result.case.cuda_graph is None


def test_an_engines_options_are_not_for_a_framework(zoo, trtzoo):
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--runtime", "pytorch-cuda", "--flush-l2")
    assert done.returncode == 2
    assert "--cuda-graph, --wait and --flush-l2 are for engines on a GPU: pytorch-cuda runs the exported graph." in " ".join(
        done.stderr.split()
    )


def test_tf32_on_a_gpu_without_it_is_refused_and_not_fp32_under_another_name(zoo, trtzoo):
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--precision", "tf32", "--runtime", "pytorch-cuda")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Tesla T4 (SM75) has no TF32; it came with SM80. Say --precision fp32" in " ".join(done.stderr.split())


# --- two equal GPUs in one machine ---

TWO = {"TRTZOO_EMULATED_GPUS": "t4,t4"}
UUIDS = [f"GPU-{number * 4}-{number * 2}-{number * 2}-{number * 2}-{number * 6}" for number in ("01", "02")]


def test_equal_gpus_have_results_and_tables_of_their_own(zoo, trtzoo):
    for device in ((), ("--device", 1)):
        done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, *device, env=TWO)
        assert done.returncode == 0, done.stdout + done.stderr
    (first,), (second,) = results(zoo), results(zoo, "tesla-t4-device1")
    assert [(each.device.index, each.device.bus_id, each.device.uuid) for each in (first, second)] == [
        (0, "0000:01:00.0", UUIDS[0]),
        (1, "0000:02:00.0", UUIDS[1]),
    ]
    headings = [line for line in trtzoo("table", "--format", "md").stdout.splitlines() if "T4, FP32" in line]
    assert headings == [
        "### Inference speed on Tesla T4, FP32, in ms, Tesla T4, tensorrt, CUDA graph",
        "### Inference speed on Tesla T4, FP32, in ms, Tesla T4 (device 1), tensorrt, CUDA graph",
    ]
    assert f"0000:02:00.0, {UUIDS[1]}" in trtzoo("table", "--explain", "dpn68,device1").stdout


@pytest.mark.parametrize("name", [UUIDS[1], "02:00.0"])
def test_a_gpu_is_measured_by_its_uuid_or_bus_id(zoo, trtzoo, name):
    assert trtzoo("bench", "dpn68", "--batch", BATCH, "--device", name, env=TWO).returncode == 0
    assert [each.device.uuid for each in results(zoo, "tesla-t4-device1")] == [UUIDS[1]]


@pytest.mark.parametrize("words", ["build --onnx tiny.onnx", "bench dpn68", "eval dpn68 --data .", "parity dpn68", "doctor"])
def test_every_command_that_uses_a_gpu_takes_its_name(driver, trtzoo, tmp_path, words):
    tiny(tmp_path / "tiny.onnx")
    done = trtzoo(*words.split(), "--device", "2", env=TWO)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"There is no GPU '2' here: device 0: Tesla T4, 0000:01:00.0, {UUIDS[0]}; device 1: " in done.stderr


def test_tensorrt_builds_on_the_named_gpu(driver, trtzoo, tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    done = trtzoo("build", "--onnx", onnx, "--device", "0000:02:00.0", env=TWO)
    assert done.returncode == 0, done.stdout + done.stderr
    (engine,) = (tmp_path / "engines").rglob("*.engine")
    assert json.loads(engine.read_bytes())["built on"] == UUIDS[1]


def test_builder_options_reach_tensorrt_and_the_result_and_the_layers_lie_beside_the_engine(zoo, trtzoo):
    for suffix in (".onnx", ".json"):
        shutil.copy(zoo / f"onnx/dpn68-fp32-s64{suffix}", zoo / f"onnx/dpn68-fp32{suffix}")
    build = ("build", "dpn68", "--batch", BATCH, "--force")
    done = trtzoo(*build, "--opt-level", 5, "--aux-streams", 0, "--dump-layers")
    assert done.returncode == 0, done.stdout + done.stderr
    (engine,) = (zoo / "engines").rglob("*.engine")
    plan, sidecar = json.loads(engine.read_bytes()), read_record(sidecar_path(engine), EngineSidecar)
    assert (plan["level"], plan["streams"]) == (5, 0)
    assert (sidecar.options, sidecar.card) == ({"opt_level": 5, "aux_streams": 0}, "Tesla T4, 16 GB")
    layers = json.loads(engine.with_suffix(".layers.json").read_text())["Layers"]
    assert layers[0]["LayerType"] == "Conv" and sidecar.layers.source == "inspector"
    assert trtzoo("bench", "dpn68", "--batch", BATCH).returncode == 0
    assert results(zoo)[0].settings["builder options"] == "--opt-level 5 --aux-streams 0"
    again = trtzoo(*build[:-1])
    assert again.returncode == 1
    assert "was built with --opt-level 5 --aux-streams 0, and now no builder options would replace it." in again.stderr
    tiled = trtzoo(*build, "--tiling", 2)
    assert "has no tiling_optimization_level. Leave out --tiling" in tiled.stderr
    assert json.loads(engine.read_bytes()) == plan


def test_results_of_another_gpu_are_not_replaced_or_resumed_silently(zoo, trtzoo):
    assert trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, env=TWO).returncode == 0
    hidden = TWO | {"CUDA_VISIBLE_DEVICES": UUIDS[1][:8]}
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", BATCH, "--resume", env=hidden)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"benchmarks/tesla-t4 has results of another Tesla T4 ({UUIDS[0]}), and this run replaces 1 of them." in done.stderr
    assert [each.device.uuid for each in results(zoo)] == [UUIDS[1]]


def test_a_bench_waits_for_the_gpu_that_another_process_uses_and_not_for_an_equal_one(zoo, trtzoo):
    with exclusive_gpu(choose_device("t4")):
        done = trtzoo("bench", "dpn68", "--batch", BATCH, "--device", "1", env=TWO)
        assert done.returncode == 0 and "Waiting" not in done.stderr
        command = [sys.executable, "-m", "trtzoo.cli", "bench", "dpn68", "--batch", str(BATCH), "--device", "0"]
        child = subprocess.Popen(command, cwd=zoo, env=os.environ | TWO, stderr=subprocess.PIPE, text=True)
        assert child.stderr.readline().startswith(f"Waiting for Tesla T4: process {os.getpid()} (")
        assert not results(zoo)
    assert child.wait(timeout=60) == 0
    child.communicate()
    assert results(zoo)[0].samples


def test_a_device_of_another_kind_or_none_is_a_sentence(zoo, trtzoo):
    for words, sentence in (
        (("--gpu", "a10", "--device", "0"), f"Device 0 is no A10: it is device 0: Tesla T4, 0000:01:00.0, {UUIDS[0]}."),
        (("--device", "2"), "There is no GPU '2' here: device 0: Tesla T4"),
    ):
        done = trtzoo("bench", "dpn68", "--batch", BATCH, *words, env=TWO)
        assert done.returncode == 3 and sentence in " ".join(done.stderr.split())
