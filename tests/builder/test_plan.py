"""Stage 2, with real engines: TensorRT-RTX compiles them here for GPUs that are elsewhere."""

import os
import struct
import threading
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.making import tiny
from trtzoo.api.artifacts import model_sources, require_some
from trtzoo.artifacts import engines
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.builder.options import check_options
from trtzoo.builder.plan import (
    BuildOrder,
    BuildSettings,
    _Builder,
    _visible,
    build,
    check_space,
    timing_cache,
)
from trtzoo.builder.targets import Target, check_precisions, choose_target
from trtzoo.core.errors import MachineError, StoreError, UsageError
from trtzoo.core.files import sha256_file, sidecar_path
from trtzoo.core.records import Device, Identity
from trtzoo.exporter.plan import export
from trtzoo.hardware.gpu_lock import exclusive_gpu
from trtzoo.hardware.gpus import FLAVOURS, GPUS
from trtzoo.hardware.probes import CudaDevice, ProbeResult, run_probes
from trtzoo.models.sources import locate
from trtzoo.models.table import MODELS

CAPABILITY = {75: 1, 80: 2, 86: 4, 89: 8, 120: 16}
"""TensorRT-RTX's mask of compute capabilities, at 0x20 of a plan: undocumented, used only by this test."""
VERSION = run_probes("tensorrt_rtx")["tensorrt_rtx"].version
T4 = Target(gpu=GPUS["t4"], flavour=FLAVOURS["rtx"], version=VERSION)


def make(todo, folder, aim=T4, **settings):
    """The results, in the order of `todo`."""
    outcomes = list(build(todo, aim, folder, BuildSettings(jobs=2, **settings), lambda order, phase, done: None))
    return sorted(outcomes, key=lambda built: todo.index(built.order))


def order_of(onnx, name=None, precision="fp32", batch=1):
    name = name or onnx.stem
    return BuildOrder(identity=Identity(model=name, network=name), onnx=onnx, precision=precision, batch=batch)


def orders_of(folder, names, precisions, batches):
    """The engines of exported models, model by model."""
    sources = model_sources(names, precisions, folder)
    return [
        BuildOrder(identity=each.identity, onnx=each.path, precision=each.precision, batch=size)
        for each in sources
        for size in batches
    ]


def one(onnx, folder, aim=T4, batch=1, precision="fp32", **settings):
    return make([order_of(onnx, precision=precision, batch=batch)], folder, aim, **settings)[0]


def capabilities(path):
    return struct.unpack_from("<I", path.read_bytes()[:64], 0x20)[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """densenet121 and dpn68 with seeded weights, FP32 and FP16."""
    folder = tmp_path_factory.mktemp("onnx")
    for name in ("densenet121", "dpn68"):
        wanted = [ExportOrder(model=name, precision=precision) for precision in ("fp32", "fp16")]
        for done in export(MODELS[name], locate(MODELS[name], "seeded"), wanted, folder):
            assert not done.error, done.error
    return folder


@pytest.fixture(scope="module")
def built(exported, tmp_path_factory):
    """Their four engines for a T4 at batch 4."""
    folder = tmp_path_factory.mktemp("engines")
    return make(orders_of(exported, ["densenet121", "dpn68"], ["fp32", "fp16"], [4]), folder), folder


def test_both_networks_build_for_a_t4_in_both_precisions(built):
    outcomes, folder = built
    for done in outcomes:
        assert not done.error, done.error
        assert done.path == folder / f"t4/rtx-{VERSION}" / done.order.file_name
        assert capabilities(done.path) == CAPABILITY[75]


def test_a_sidecar_records_what_made_the_engine_and_what_is_in_it(built):
    for done in built[0]:
        about = done.sidecar
        assert about == engines.read_sidecar_unchecked(done.path)
        assert about.sha256 == sha256_file(done.path)
        assert about.onnx.sha256 == sha256_file(done.order.onnx)
        assert (about.gpu, about.sm, about.flavour, about.version) == ("t4", 75, "rtx", VERSION)
        assert about.weights.source == "seeded"
        assert about.flags == {"strongly_typed": True, "tf32": False, "workspace": 1 << 30, "detailed": False}
        assert [(each.name, each.dtype, each.shape) for each in about.inputs] == [("images", "FLOAT", (4, 3, 224, 224))]
        assert [(each.name, each.dtype, each.shape) for each in about.outputs] == [("logits", "FLOAT", (4, 1000))]
        assert about.profile["images"].min == about.profile["images"].max == (4, 3, 224, 224)
        assert about.options == {}
        assert 0 < about.build_seconds < 60
        assert 1e8 < about.peak_memory < 1.5e9


def test_the_graphs_golden_sample_lies_beside_the_engine_for_the_machine_that_runs_it(built):
    for one in built[0]:
        sample = one.path.with_name(one.sidecar.golden)
        assert sha256_file(sample) == one.sidecar.golden_sha256


def test_an_engine_whose_golden_sample_is_missing_or_changed_is_built_again(exported, tmp_path):
    first = one(exported / "densenet121-fp32.onnx", tmp_path)
    sample = first.path.with_name(first.sidecar.golden)
    for damage in (sample.unlink, lambda: sample.write_bytes(b"changed")):
        damage()
        assert not one(exported / "densenet121-fp32.onnx", tmp_path).up_to_date
        assert sha256_file(sample) == first.sidecar.golden_sha256
    assert one(exported / "densenet121-fp32.onnx", tmp_path).up_to_date


def test_the_layers_have_the_orders_precision(built):
    for done in built[0]:
        wanted = done.order.precision.upper()
        assert set(done.sidecar.layers.compute) == {wanted}
        assert done.sidecar.layers.share(wanted) > 0.99


def test_an_intact_engine_opens_on_a_t4_and_on_no_other_gpu(built):
    path = built[0][0].path
    plan, _ = engines.load_plan(path, flavour="rtx", version=VERSION, sm=75, device="Tesla T4", memory=16 << 30)
    assert len(plan) == path.stat().st_size
    with pytest.raises(StoreError, match=r"for SM75 \(t4\); this GPU is SM86 \(NVIDIA A10\). Run: trtzoo build densenet121 "):
        engines.load_plan(path, flavour="rtx", version=VERSION, sm=86, device="NVIDIA A10", memory=24 << 30)


def test_a_second_process_builds_the_same_bytes(built, tmp_path):
    first = built[0][-1]
    again = make([first.order], tmp_path)[0]
    assert again.sidecar.sha256 == first.sidecar.sha256


def test_a_second_build_does_nothing(built):
    outcomes, folder = built
    before = [done.path.stat().st_mtime_ns for done in outcomes]
    again = make([done.order for done in outcomes], folder)
    assert all(done.up_to_date for done in again)
    assert [done.path.stat().st_mtime_ns for done in again] == before


@pytest.mark.parametrize("name", ["a10", "a100", "rtx4090", "rtx5090"])
def test_other_gpus_get_plans_of_their_own(name, tmp_path):
    aim = msgspec.structs.replace(T4, gpu=GPUS[name])
    done = one(tiny(tmp_path / "tiny.onnx"), tmp_path, aim)
    assert not done.error
    assert done.path.parent.parent.name == name
    assert capabilities(done.path) == CAPABILITY[aim.gpu.sm]


@pytest.mark.parametrize(
    "change", ["onnx", "batch", "workspace", "detailed", "force", "engine", "cut", "sidecar", "no sidecar", "no engine"]
)
def test_any_change_rebuilds(change, tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    first = one(onnx, tmp_path)
    assert not first.error
    assert one(onnx, tmp_path).up_to_date
    settings = {"workspace": 1 << 29} if change == "workspace" else {change: True} if change in ("detailed", "force") else {}
    plan, about = first.path, sidecar_path(first.path)
    if change == "onnx":
        tiny(onnx, seed=1)
    elif change == "engine":
        plan.write_bytes(bytes(plan.stat().st_size))
    elif change == "cut":
        os.truncate(plan, 100)
    elif change == "sidecar":
        about.write_text("{}")
    elif change.startswith("no "):
        (about if change == "no sidecar" else plan).unlink()
    again = one(onnx, tmp_path, batch=2 if change == "batch" else 1, **settings)
    assert (again.up_to_date, again.error) == (False, "")
    assert engines.is_intact(again.path, engines.read_sidecar_unchecked(again.path))


def test_an_engine_with_other_builder_options_is_replaced_only_by_force(tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    first = one(onnx, tmp_path, options={"aux_streams": 0})
    assert (first.error, first.sidecar.options) == ("", {"aux_streams": 0})
    assert one(onnx, tmp_path, options={"aux_streams": 0}).up_to_date
    assert one(onnx, tmp_path).error == (
        f"{first.path} was built with --aux-streams 0, and now no builder options would replace it. "
        "Keep both: --engines-dir OTHER. Replace it: --force"
    )
    assert one(onnx, tmp_path, force=True).sidecar.options == {}
    assert "was built with no builder options, and now --aux-streams 0" in one(onnx, tmp_path, options={"aux_streams": 0}).error
    os.truncate(first.path, 100)
    assert one(onnx, tmp_path, options={"aux_streams": 0}).error == ""


def test_kernels_that_were_timed_with_other_options_have_times_of_their_own():
    names = [timing_cache(options) for options in ({}, {"timing_iterations": 8}, {"opt_level": 5, "timing_iterations": 8})]
    assert names == ["timing.cache", "timing-timing_iterations8.cache", "timing-opt_level5-timing_iterations8.cache"]


@pytest.mark.parametrize("options", [{"opt_level": 0}, {"timing_iterations": 8}, {"tiling": 3}])
def test_tensorrt_rtx_ignores_an_option_and_so_it_is_refused(options, tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    plain, other = one(onnx, tmp_path / "plain"), one(onnx, tmp_path / "other", options=options)
    assert plain.sidecar.sha256 == other.sidecar.sha256
    (name,) = options
    with pytest.raises(UsageError, match=r"^TensorRT-RTX ignores --"):
        check_options(options, FLAVOURS["rtx"])
    check_options(options, FLAVOURS["tensorrt"])
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} -1: choose a whole number from "):
        check_options({name: -1}, FLAVOURS["tensorrt"])


def test_a_dump_of_layers_belongs_to_its_engine(tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    first = one(onnx, tmp_path)
    dump = engines.layers_path(first.path)
    assert dump.name == "tiny-fp32-b1.layers.json"
    dump.write_text("{}")
    assert one(onnx, tmp_path).up_to_date and dump.exists()
    tiny(onnx, seed=1)
    assert not one(onnx, tmp_path).up_to_date
    assert not dump.exists()


def test_an_engine_whose_file_was_only_touched_is_up_to_date(tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    os.utime(one(onnx, tmp_path).path)
    os.utime(onnx)
    assert one(onnx, tmp_path).up_to_date


def test_tf32_is_a_row_of_its_own(tmp_path):
    aim = msgspec.structs.replace(T4, gpu=GPUS["a100"])
    done = one(tiny(tmp_path / "tiny.onnx"), tmp_path, aim, precision="tf32")
    assert done.path.name == "tiny-tf32-b1.engine"
    assert done.sidecar.flags["tf32"] is True


def test_one_bad_graph_does_not_stop_the_rest(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"")
    good = tiny(tmp_path / "good.onnx")
    todo = [order_of(path) for path in (tmp_path / "bad.onnx", good)]
    bad, fine = make(todo, tmp_path)
    assert bad.error == "bad.onnx contains no network: it is empty or not an ONNX file"
    assert fine.sidecar


def test_an_unexpected_exception_is_a_failed_row(tmp_path):
    def fail(order, phase, done):
        raise SystemExit("no")

    order = order_of(tiny(tmp_path / "tiny.onnx"), "tiny")
    (done,) = build([order], T4, tmp_path, BuildSettings(), fail)
    assert done.error == "SystemExit: no"


def test_a_missing_graph_is_one_row_with_the_command_that_makes_it(exported, tmp_path):
    (tmp_path / "dpn68-fp16.onnx").write_bytes((exported / "dpn68-fp16.onnx").read_bytes())
    fine, missing = make(orders_of(tmp_path, ["dpn68", "dpn92"], ["fp16"], [1]), tmp_path)
    assert not fine.error
    assert missing.error == f"There is no {tmp_path}/dpn92-fp16.onnx. Run: trtzoo export dpn92 --precision fp16"


def test_a_graph_that_does_not_match_its_sidecar_is_not_built(exported, tmp_path):
    for path in (exported / "dpn68-fp16.onnx", exported / "dpn68-fp16.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "dpn68-fp16.onnx").open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\xff")
    (done,) = make(orders_of(tmp_path, ["dpn68"], ["fp16"], [1]), tmp_path)
    assert done.error == (
        f"{tmp_path}/dpn68-fp16.onnx is not the file that dpn68-fp16.json describes: it was changed or truncated. "
        "Run: trtzoo export dpn68 --precision fp16 --force"
    )


def test_a_workspace_that_is_too_small_fails_with_tensorrts_message(tmp_path):
    done = one(tiny(tmp_path / "tiny.onnx"), tmp_path, workspace=1 << 20)
    assert done.error.startswith("the build failed. TensorRT reports: IBuilder::buildSerializedNetwork: Error Code 1: ")
    assert "no tactics to implement the operation within workspace limit" in done.error


def test_two_builders_of_one_engine_build_it_once(tmp_path):
    order = order_of(tiny(tmp_path / "tiny.onnx"), "tiny")
    outcomes = []
    both = [threading.Thread(target=lambda: outcomes.extend(make([order], tmp_path))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(done.up_to_date for done in outcomes) == [False, True]
    assert outcomes[0].sidecar == outcomes[1].sidecar


def test_leaving_early_cancels_what_runs_and_leaves_nothing_half_written(exported, tmp_path):
    todo = orders_of(exported, ["densenet121", "dpn68"], ["fp32", "fp16"], [1, 4, 8])
    start = time.monotonic()
    with closing(build(todo, T4, tmp_path, BuildSettings(jobs=2), lambda order, phase, done: None)) as stream:
        first = next(stream)
    assert time.monotonic() - start < 30
    folder = first.path.parent
    assert first.path.is_file()
    assert not list(folder.glob(".*.tmp-*"))
    for engine in folder.glob("*.engine"):
        assert engines.is_intact(engine, engines.read_sidecar_unchecked(engine))
    assert len(list(folder.glob("*.engine"))) < len(todo)


def test_a_build_on_a_gpu_waits_for_it_and_one_ahead_of_time_does_not(tmp_path):
    onnx = tiny(tmp_path / "tiny.onnx")
    order, phases = order_of(onnx, "tiny"), []
    device = Device(key="tesla-t4", name="Tesla T4", kind="gpu", uuid="GPU-1")
    here = Target(gpu=GPUS["t4"], flavour=FLAVOURS["tensorrt"], version="11.4.0", device=device)
    with exclusive_gpu(device):
        assert not one(onnx, tmp_path, replace(T4, device=device)).error
        stream = build([order], here, tmp_path, BuildSettings(), lambda order, phase, done: phases.append(phase))
        thread, ended = threading.Thread(target=lambda: ended.extend(stream)), []
        thread.start()
        thread.join(timeout=1)
        assert not ended and phases[-1] == "waiting to start"
    thread.join(timeout=60)
    assert [done.order for done in ended] == [order]


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    """The child may write no file over 64 KiB: what a full disk does to it."""
    onnx = tiny(tmp_path / "tiny.onnx")
    limit = tmp_path / "sitecustomize.py"
    limit.write_text(
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = one(onnx, tmp_path)
    assert done.error == "the engine could not be written: File too large"
    assert not list(done.path.parent.glob("*.engine"))


def test_free_space_is_checked_before_anything_is_built(tmp_path):
    big = tmp_path / "big.onnx"
    with big.open("wb") as file:
        os.truncate(file.fileno(), 4 << 40)
    order = order_of(big, "big")
    with pytest.raises(StoreError, match=rf"3 engines will need about 13194.2 GB, but only .* is free for {tmp_path}\."):
        check_space([msgspec.structs.replace(order, batch=batch) for batch in (1, 4, 8)], T4, tmp_path, force=False)


def test_an_engine_that_is_there_needs_no_space(tmp_path):
    order = order_of(tiny(tmp_path / "tiny.onnx"), "tiny")
    assert check_space([order], T4, tmp_path, force=False) > 0
    make([order], tmp_path)
    assert check_space([order], T4, tmp_path, force=False) == 0


def test_without_any_exported_graph_the_command_is_named(tmp_path):
    with pytest.raises(StoreError) as error:
        require_some(model_sources(list(MODELS), ["tf32", "fp16"], tmp_path))
    assert str(error.value) == (
        f"Nothing is exported: {tmp_path}/densenet121-fp32.onnx and 19 more do not exist. "
        "Run: trtzoo export --all --precision fp32,fp16"
    )


# --- which GPU, which TensorRT ---

GONE = ProbeResult(error="not installed")
HERE = {
    "nothing": ProbeResult(error="no NVIDIA driver"),
    "t4": ProbeResult(version="550.54.15, CUDA 12.4", devices=(CudaDevice(name="Tesla T4", sm=75, memory=16 << 30),)),
    "v100": ProbeResult(version="CUDA 12.4", devices=(CudaDevice(name="Tesla V100-SXM2-16GB", sm=70, memory=16 << 30),)),
}


def choose(here, gpu="auto", flavour="auto", *, tensorrt="11.4.0.106", rtx="1.7.1.116"):
    answers = {"cuda": HERE[here]}
    for name, version in (("tensorrt", tensorrt), ("tensorrt_rtx", rtx)):
        answers[name] = ProbeResult(version=version) if version else GONE
    aim = choose_target(gpu, flavour, answers)
    return aim.gpu.name, aim.flavour.name, aim.version, aim.device is not None


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (("nothing",), ("t4", "rtx", "1.7.1.116", False)),
        (("nothing", "a10"), ("a10", "rtx", "1.7.1.116", False)),
        (("t4",), ("t4", "tensorrt", "11.4.0.106", True)),
        (("t4", "t4", "rtx"), ("t4", "rtx", "1.7.1.116", True)),
        (("t4", "rtx4090"), ("rtx4090", "rtx", "1.7.1.116", False)),
    ],
)
def test_auto_is_the_gpu_here_with_tensorrt_else_a_t4_ahead_of_time(asked, chosen):
    assert choose(*asked) == chosen


def test_of_two_gpus_a_builder_sees_the_one_that_is_built_for(monkeypatch):
    two = ProbeResult(version="CUDA 12.4", devices=(*HERE["v100"].devices, *HERE["t4"].devices))
    answers = {"cuda": two, "tensorrt": ProbeResult(version="10.4.0"), "tensorrt_rtx": GONE}
    chosen = [choose_target(name, "auto", answers).device for name in ("auto", "v100", "t4")]
    assert [device.index for device in chosen] == [0, 0, 1]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [_visible(device) for device in (None, chosen[0], chosen[2])] == ["", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    assert [_visible(device) for device in (None, chosen[0], chosen[2])] == ["", "2", "GPU-5"]


def test_of_two_equal_gpus_the_named_one_is_built_for_and_seen_by_its_uuid(monkeypatch):
    (t4,) = HERE["t4"].devices
    two = (replace(t4, uuid="GPU-aaaa", bus_id="0000:01:00.0"), replace(t4, uuid="GPU-bbbb", bus_id="0000:02:00.0"))
    answers = {"cuda": ProbeResult(version="CUDA 12.4", devices=two), "tensorrt": ProbeResult(version="10.4.0")}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    for name, uuid in ((None, "GPU-aaaa"), (1, "GPU-bbbb"), ("GPU-bb", "GPU-bbbb"), ("02:00.0", "GPU-bbbb")):
        target = choose_target("t4", "auto", answers, device=name)
        assert (target.gpu.name, _visible(target.device)) == ("t4", uuid)
    with pytest.raises(MachineError, match=r"^Device 1 is no RTX 4090: it is device 1: Tesla T4, 0000:02:00\.0, GPU-bbbb\.$"):
        choose_target("rtx4090", "auto", answers | {"tensorrt_rtx": ProbeResult(version="1.7.1.116")}, device=1)


def test_a_card_belongs_to_the_recipe_where_its_kernels_are_timed():
    cards = ("NVIDIA A100-SXM4-40GB", 42_314_694_656), ("NVIDIA A100-SXM4-80GB", 85_175_042_048)
    devices = tuple(CudaDevice(name=name, sm=80, memory=memory) for name, memory in cards)
    answers = {"cuda": ProbeResult(version="CUDA 12.4", devices=devices), "tensorrt": ProbeResult(version="10.4.0")}
    answers["tensorrt_rtx"] = ProbeResult(version="1.7.1.116")
    targets = [choose_target("a100", flavour, answers, device=index) for flavour in ("tensorrt", "rtx") for index in (0, 1)]
    assert [target.card for target in targets] == ["NVIDIA A100-SXM4-40GB, 40 GB", "NVIDIA A100-SXM4-80GB, 80 GB", "", ""]
    order = order_of(Path("tiny.onnx"), "tiny")
    stamp = engines.Stamp(name="tiny.onnx", sha256="0", bytes=1, modified=1)
    builders = [_Builder(target, Path(), BuildSettings(), lambda *_: None, threading.Event()) for target in targets]
    hashes = [builder._recipe(order, stamp).sha256 for builder in builders]
    assert len(set(hashes)) == 3 and hashes[2] == hashes[3]


def test_a_jetson_is_no_target():
    with pytest.raises(MachineError, match=r"^Jetson Thor \(SM110\) is not supported: its TensorRT is part of JetPack, "):
        choose("nothing", "thor")


def test_without_tensorrt_the_gpu_here_is_built_for_by_tensorrt_rtx():
    assert choose("t4", tensorrt="") == ("t4", "rtx", "1.7.1.116", True)


def test_a_v100_here_with_its_last_tensorrt_builds():
    assert choose("v100", tensorrt="10.4.0") == ("v100", "tensorrt", "10.4.0", True)


@pytest.mark.parametrize(
    ("asked", "installed", "sentence"),
    [
        (
            ("v100",),
            {},
            "TensorRT 11.4.0.106 does not build for Tesla V100 (SM70): 10.4 was the last that does. "
            "Run: pip install 'tensorrt-cu12==10.4.*'",
        ),
        (
            ("nothing", "v100"),
            {},
            "TensorRT-RTX 1.7.1.116 cannot build for Tesla V100 (SM70): TensorRT-RTX starts at Turing (SM75). "
            "TensorRT can, on a machine with that GPU: pip install 'tensorrt-cu12==10.4.*'",
        ),
        (
            ("nothing", "t4", "tensorrt"),
            {},
            "TensorRT builds only for a GPU in this machine; Tesla T4 is not here (no NVIDIA driver). "
            "Run: trtzoo build --gpu t4 --flavour rtx",
        ),
        (
            ("t4", "h100", "tensorrt"),
            {},
            "TensorRT builds only for a GPU in this machine; H100 is not here (Tesla T4). "
            "Build on a machine with that GPU: TensorRT-RTX has no data-centre Hopper (SM90)",
        ),
        (
            ("t4", "t4", "tensorrt"),
            {"tensorrt": ""},
            "TensorRT is required but is not installed. Run: trtzoo setup",
        ),
        (("nothing",), {"rtx": ""}, "TensorRT-RTX is required but is not installed. Run: pip install tensorrt-rtx-cu12"),
    ],
)
def test_a_machine_that_cannot_build_gets_the_reason_and_the_remedy(asked, installed, sentence):
    with pytest.raises(MachineError) as error:
        choose(*asked, **installed)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("version", "builds"), [("8.6.1", {"int8"}), ("10.0.1", {"int8", "bf16"}), ("10.2.0", {"int8", "bf16", "fp8"})]
)
def test_a_tensorrt_that_is_too_old_for_a_precision_is_told_the_first_that_builds_it(version, builds):
    gpu, flavour = GPUS["rtx4090"], FLAVOURS["tensorrt"]
    for name, first in (("int8", "8.6"), ("bf16", "10.0"), ("fp8", "10.2")):
        check_precisions([name], Target(gpu=gpu, flavour=FLAVOURS["rtx"], version="1.2.0.54"))
        target = Target(gpu=gpu, flavour=flavour, version=version)
        if name in builds:
            check_precisions(["fp32", name], target)
            continue
        with pytest.raises(MachineError) as error:
            check_precisions(["fp32", name], target)
        assert str(error.value) == (
            f"TensorRT {version} builds no {name.upper()} engines: {first} is the first that does. "
            f"Run: pip install 'tensorrt-cu12>={first}'"
        )


def test_every_gpu_of_rtx_is_a_target_anywhere():
    for row in GPUS.values():
        if not row.not_rtx:
            assert choose("nothing", row.name) == (row.name, "rtx", "1.7.1.116", False)
