"""A session of an engine, on the emulated driver and, where there is one, on a GPU.

The order of the driver's calls, and faults, are in test_tensorrt_calls.py.
"""

import subprocess
import sys

import numpy as np
import pytest

from tests import making
from tests.cuda import engines
from trtzoo.artifacts import golden
from trtzoo.artifacts.golden import Golden
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import MachineError, RunError, StoreError
from trtzoo.core.files import read_sidecar, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Sample

TOLERANCE = {"fp32": 1e-5, "fp16": 1e-2}


@pytest.fixture
def tiny(tmp_path):
    """`tiny(precision)`: the small classifier and its golden sample."""

    def make(precision="fp32"):
        images = golden.images(8)
        weights = np.random.default_rng(0).standard_normal((5, 3, 3, 3))
        windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float64), (3, 3), axis=(2, 3))
        logits = np.einsum("nchwij,ocij->no", windows, weights) / 36
        return making.tiny(tmp_path / f"tiny-{precision}.onnx", dtype=precision), Golden(images, logits)

    return make


def session(path, flavour="tensorrt", *, batch=4, **options):
    from trtzoo.runtimes import tensorrt  # it needs PyCUDA, which only the child process has

    return tensorrt.Session(path, batch=batch, flavour=flavour, **options)


@pytest.fixture
def opened(gpu, tiny):
    """`opened(batch=…, precision=…, flavour=…, options…)`: a session, closed at the end, and the golden sample."""
    sessions = []

    def make(*, batch=4, precision="fp32", flavour="tensorrt", **options):
        onnx, sample = tiny(precision)
        engine = gpu(onnx, batch=batch, precision=precision, flavour=flavour)
        sessions.append(session(engine, flavour, batch=batch, **options))
        return sessions[-1], sample

    yield make
    for live in sessions:
        live.close()


@pytest.mark.parametrize("cuda_graph", [True, False], ids=["graph", "plain"])
@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("flavour", ["tensorrt", "rtx"])
def test_the_logits_are_the_golden_samples(opened, flavour, precision, batch, cuda_graph):
    live, sample = opened(flavour=flavour, precision=precision, batch=batch, cuda_graph=cuda_graph)
    images, reference = sample.batch(batch)
    assert golden.check_logits(live.infer(images), reference, tolerance=TOLERANCE[precision]).images == batch
    assert live.settings["cuda graph"] == ("on" if cuda_graph else "off")


def test_each_inference_computes_the_images_it_is_given(opened):
    live, sample = opened(batch=1)
    for index in (2, 0, 3):
        logits = live.infer(sample.images[index : index + 1])
        golden.check_logits(logits, sample.logits[index : index + 1], tolerance=1e-5)


def test_a_sample_has_all_its_parts_in_seconds(opened):
    live, sample = opened()
    live.infer(sample.images)
    for taken in (live.sample() for _ in range(5)):
        assert isinstance(taken, Sample)
        assert min(taken.h2d, taken.compute, taken.d2h, taken.enqueue) > 0
        assert taken.h2d + taken.compute + taken.d2h <= taken.total < 1
        assert taken.enqueue < taken.total


def test_a_sample_computes_on_the_images_given_last(opened):
    live, sample = opened()
    live.infer(sample.images)
    live.infer(sample.images[::-1])
    live.sample()
    golden.check_logits(live._logits.copy(), sample.logits[::-1], tolerance=1e-5)


def test_without_transfers_only_compute_is_timed(opened):
    live, sample = opened(transfers=False)
    golden.check_logits(live.infer(sample.images), sample.logits, tolerance=1e-5)
    taken = live.sample()
    assert (taken.h2d, taken.d2h) == (0, 0)
    assert 0 < taken.compute <= taken.total


@pytest.mark.parametrize("options", [{"flush_l2": True}, {"wait": "block"}], ids=["flush", "block"])
@pytest.mark.parametrize("cuda_graph", [True, False], ids=["graph", "plain"])
def test_a_flushed_cache_and_a_blocking_wait_do_not_change_the_logits(opened, cuda_graph, options):
    live, sample = opened(cuda_graph=cuda_graph, transfers=False, **options)
    for _ in range(3):
        golden.check_logits(live.infer(live.prepare(sample.images)), sample.logits, tolerance=1e-5)
        assert 0 < live.sample().compute < 1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_prepared_images_have_the_engines_type_so_that_nothing_is_converted_while_it_is_timed(opened, precision):
    live, sample = opened(precision=precision, pinned=False)
    prepared = live.prepare(sample.images)
    assert prepared.dtype.name == {"fp32": "float32", "fp16": "float16"}[precision]
    golden.check_logits(live.infer(prepared), sample.logits, tolerance=TOLERANCE[precision])
    assert live._images is prepared


def test_what_opening_takes_is_recorded(opened):
    live, _ = opened()
    opening = live.opening
    assert min(opening.deserialisation, opening.context, opening.first_inference) > 0
    assert opening.deserialisation + opening.context + opening.first_inference < 60
    assert opening.compilation is None
    assert opening.engine_size > 10 and opening.context_memory >= 0


def test_pageable_memory_gives_the_same_logits(opened):
    live, sample = opened(pinned=False)
    golden.check_logits(live.infer(sample.images), sample.logits, tolerance=1e-5)
    assert live.sample().h2d > 0
    assert live.settings["host memory"] == "pageable"


def test_pageable_images_are_copied_from_where_they_are(opened):
    live, sample = opened(pinned=False)
    live.infer(sample.images)
    assert live._images is sample.images


def test_a_second_close_does_nothing(opened):
    live, _ = opened()
    live.close()
    live.close()


def test_an_engine_can_be_opened_again_and_again(opened):
    for _ in range(3):
        live, sample = opened()
        golden.check_logits(live.infer(sample.images), sample.logits, tolerance=1e-5)
        live.close()


def test_two_sessions_live_side_by_side(opened):
    first, sample = opened()
    second, _ = opened(batch=1)
    second.infer(sample.images[:1])
    golden.check_logits(first.infer(sample.images), sample.logits, tolerance=1e-5)
    second.close()
    golden.check_logits(first.infer(sample.images), sample.logits, tolerance=1e-5)


def test_images_of_another_shape_are_refused(opened):
    live, sample = opened()
    with pytest.raises(RunError, match=r"on images of shape \(2, 3, 8, 8\): it takes \(4, 3, 8, 8\)$"):
        live.infer(sample.images[:2])


def test_an_engine_of_another_batch_is_refused(gpu, tiny):
    engine = gpu(tiny()[0], batch=8)
    with pytest.raises(StoreError, match=r"b8.engine takes batches of 8, not of 16. Run: trtzoo build .+ --batch 16"):
        session(engine, batch=16)


def test_kernels_of_rtx_are_kept_and_reused_with_the_time_of_their_compilation(opened):
    seen, openings = [], []
    for _ in range(3):
        live, sample = opened(flavour="rtx")
        golden.check_logits(live.infer(sample.images), sample.logits, tolerance=1e-5)
        seen.append(live.settings["kernel cache"])
        openings.append(live.opening)
        live.close()
    assert seen == ["new", "used", "used"]
    assert openings[0].compilation == openings[0].context == openings[1].compilation == openings[2].compilation
    assert openings[1].context not in (openings[0].context, openings[2].context)


def test_versions_and_settings_are_reported(opened):
    live, _ = opened(flavour="tensorrt")
    assert list(live.versions) == ["tensorrt", "pycuda", "driver"]
    assert live.settings == {"transfers": "on", "host memory": "pinned", "wait": "spin", "cuda graph": "on"}


# --- on the emulated driver only ---


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_real_networks_logits_are_its_golden_samples(driver, trtzoo, tmp_path, precision):
    done = trtzoo("export", "densenet121", "--weights", "seeded", "--precision", precision)
    assert done.returncode == 0, done.stderr
    onnx = tmp_path / "onnx" / f"densenet121-{precision}.onnx"
    exported = read_sidecar(onnx, OnnxSidecar, remedy="")
    images, reference = golden.load(onnx.with_name(exported.golden)).batch(4)
    opened = session(engines.emulated(tmp_path, onnx, batch=4, precision=precision))
    try:
        golden.check_logits(opened.infer(images), reference, tolerance=PRECISIONS[precision].tolerance)
    finally:
        opened.close()


def test_an_opening_has_the_sizes_of_engine_and_context(engine):
    path = engine()
    live = session(path)
    assert (live.opening.engine_size, live.opening.context_memory) == (path.stat().st_size, 8192)
    live.close()


def test_warnings_of_tensorrt_are_kept_once_each_and_in_bounds(engine):
    warnings = ["lazy loading is off", "lazy loading is off", *(f"{number}: " + 400 * "x" for number in range(30))]
    live = session(engine(warns=warnings))
    notes = live.opening.notes
    assert notes[0] == "lazy loading is off" and len(notes) == len(set(notes)) == 20
    assert max(map(len, notes)) == 300
    live.close()


@pytest.fixture
def engine(driver, tiny, tmp_path):
    """`engine(plan…)`: an engine at batch 4 on the emulated T4."""
    return lambda flavour="tensorrt", **plan: engines.emulated(tmp_path, tiny()[0], batch=4, flavour=flavour, **plan)


def test_an_engine_for_another_gpu_is_refused(engine):
    built = "was built by TensorRT 10.13.2.6 for SM75 .t4."
    with pytest.raises(StoreError, match=rf"{built}; this GPU is SM86 \(NVIDIA A10\). Run: trtzoo build --onnx"):
        session(engine(), device=1)


def test_an_engine_of_another_version_is_refused(engine, tiny):
    path = engine()
    engines.describe(path, tiny()[0], batch=4, precision="fp32", flavour="tensorrt", version="10.4.0")
    with pytest.raises(StoreError, match=r"was built by TensorRT 10.4.0 for SM75 .t4.; this machine has TensorRT 10.13.2.6"):
        session(path)


def test_an_engine_of_the_other_flavour_is_refused(engine):
    with pytest.raises(
        StoreError, match=r"was built by TensorRT-RTX 1.7.1.116 for SM75 .t4.; this machine has TensorRT 10.13.2.6"
    ):
        session(engine("rtx"))


def test_an_engine_that_was_changed_is_not_opened(engine):
    path = engine()
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StoreError, match="was changed since it was built"):
        session(path)


def test_an_engine_without_a_sidecar_is_not_opened(engine):
    path = engine()
    sidecar_path(path).unlink()
    with pytest.raises(StoreError, match="has no sidecar"):
        session(path)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"types": {"logits": "tensor(bfloat16)"}}, r"logits is BF16 \[4, 5\], not FLOAT or HALF of a fixed shape"),
        ({"shapes": {"images": [-1, 3, 8, 8]}}, r"images is FLOAT \[-1, 3, 8, 8\], not FLOAT or HALF of a fixed shape"),
    ],
)
def test_an_engine_of_another_kind_is_refused(engine, plan, words):
    with pytest.raises(RunError, match=words):
        session(engine(**plan))


def test_a_missing_gpu_is_an_error(engine):
    with pytest.raises(MachineError, match="cannot open device 2: cuDeviceGet failed: invalid device"):
        session(engine(), device=2)


@pytest.mark.parametrize("damage", ["cut", "changed", "another engine's", "refused by TensorRT"])
def test_kept_kernels_that_do_not_fit_are_replaced(engine, damage, script):
    path = engine("rtx")
    session(path, "rtx").close()
    kept = path.with_suffix(".kernels")
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-1])
    elif damage == "changed":
        kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    elif damage == "another engine's":
        path = engine("rtx", other=True)
    else:
        script.fails = "deserialize"
    for expected in ("new", "used") if damage != "refused by TensorRT" else ("new", "new"):
        again = session(path, "rtx")
        again.close()
        assert again.settings["kernel cache"] == expected


def test_kernels_that_cannot_be_saved_are_reported_and_the_session_opens(engine):
    path = engine("rtx")
    (path.parent / ".locks").write_text("in the way")
    opened = session(path, "rtx")
    opened.close()
    assert opened.settings["kernel cache"].startswith(f"not kept: {path.with_suffix('.kernels')} could not be written")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("deserialize_cuda_engine", "it was not opened"),
        ("create_execution_context", "no execution context could be made"),
        ("set_tensor_address", "the address of images was refused"),
        ("execute_async_v3", "the computation was not enqueued"),
    ],
)
def test_a_call_that_tensorrt_refuses_is_an_error_with_its_message(engine, script, method, words):
    path, script.fails = engine(), method
    with pytest.raises(RunError) as caught:
        session(path)
    assert str(caught.value) == f"{path.name} cannot be run: {words}. TensorRT reports: {method}: the script says so"


def test_a_machine_without_pycuda_gets_the_command_that_installs_it():
    code = "import sys; sys.modules['pycuda'] = None; import trtzoo.runtimes.tensorrt"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(
        "trtzoo.core.errors.MachineError: Running engines requires an NVIDIA driver and PyCUDA, and one of them is missing"
    )
