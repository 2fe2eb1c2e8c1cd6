"""The driver calls of a session, their order and sizes, and its behaviour when any of them fails."""

import pytest

from tests import making
from tests.cuda import engines
from trtzoo.artifacts import golden
from trtzoo.core.errors import MachineError, RunError, TrtzooError

IMAGES = 4 * 3 * 8 * 8 * 4
LOGITS = 4 * 5 * 4
OPEN = [
    "cuInit",
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuCtxPushCurrent",
    "cuDriverGetVersion",
    "cuDeviceComputeCapability",
    "cuDeviceGetName",
    "cuDeviceTotalMem",
    "cuMemAlloc 4096",  # the engine's
    "cuMemAlloc 8192",  # the execution context's
    "cuStreamCreate 1",  # one that does not block stream 0
    *4 * ["cuEventCreate 0"],
    f"cuMemHostAlloc {IMAGES}",
    f"cuMemHostAlloc {LOGITS}",
    f"cuMemAlloc {IMAGES}",
    f"cuMemAlloc {LOGITS}",
    f"cuMemcpyHtoDAsync {IMAGES}",
    "cuMemAlloc 256",  # TensorRT's last allocation
    "cuLaunchHostFunc",
    "cuStreamSynchronize",
]
CAPTURE = [
    "cuStreamBeginCapture 1",  # of this thread only
    "cuLaunchHostFunc",
    "cuStreamEndCapture",
    "cuGraphInstantiate",
    "cuGraphDestroy",
]
CLOSE = [
    "cuStreamSynchronize",
    "cuMemFree",
    "cuMemFree",
    "cuMemFreeHost",
    "cuMemFreeHost",
    *4 * ["cuEventDestroy"],
    "cuStreamDestroy",
    *3 * ["cuMemFree"],  # TensorRT's
    "cuCtxPopCurrent",
    "cuCtxPushCurrent",  # PyCUDA's detach
    "cuDevicePrimaryCtxRelease",
    "cuCtxPopCurrent",
]


@pytest.fixture
def engine(driver, tmp_path):
    """An engine at batch 4 for the emulated T4."""
    return engines.emulated(tmp_path, making.tiny(tmp_path / "tiny.onnx"), batch=4)


@pytest.fixture
def opened(engine):
    """`opened(options…)`: a session of the engine, closed at the end."""
    sessions = []

    def make(**options):
        sessions.append(session(engine, **options))
        return sessions[-1]

    yield make
    for each in sessions:
        each.close()


def session(engine, **options):
    from trtzoo.runtimes import tensorrt  # it needs PyCUDA, which only the child process has

    return tensorrt.Session(engine, batch=4, flavour="tensorrt", **options)


def inferred(engine, **options):
    """Open a session, infer, sample and close it."""
    opened = session(engine, **options)
    try:
        return opened.infer(golden.images(8)), opened.sample(), opened.settings
    finally:
        opened.close()


# --- order and size ---


def test_an_engine_is_opened_in_this_order_and_all_is_freed_in_the_reverse(opened, driver):
    live = opened()
    assert driver.log() == OPEN + CAPTURE
    live.close()
    assert driver.log() == [CLOSE[0], "cuGraphExecDestroy", *CLOSE[1:]]


def test_a_sample_is_a_copy_a_launch_and_a_copy_with_events_between(opened, driver):
    live = opened()
    driver.log()
    live.sample()
    assert driver.log() == [
        "cuEventRecord",
        f"cuMemcpyHtoDAsync {IMAGES}",
        "cuEventRecord",
        "cuGraphLaunch",
        "cuEventRecord",
        f"cuMemcpyDtoHAsync {LOGITS}",
        "cuEventRecord",
        "cuEventSynchronize",
        *3 * ["cuEventElapsedTime"],
    ]


def test_a_resident_sample_is_a_launch_between_two_events(opened, driver):
    live = opened(transfers=False)
    driver.log()
    live.sample()
    assert driver.log() == ["cuEventRecord", "cuGraphLaunch", "cuEventRecord", "cuEventSynchronize", "cuEventElapsedTime"]


def test_without_a_graph_the_computation_is_enqueued_each_time(opened, driver):
    live = opened(cuda_graph=False, transfers=False)
    assert driver.log() == OPEN
    live.sample()
    assert driver.log()[1] == "cuLaunchHostFunc"
    live.close()
    assert driver.log() == CLOSE


def test_an_inference_erases_old_logits_first(opened, driver):
    live = opened()
    driver.log()
    live.infer(golden.images(8))
    assert driver.log() == [
        f"cuMemcpyHtoDAsync {IMAGES}",
        f"cuMemsetD8Async {LOGITS}",
        "cuGraphLaunch",
        f"cuMemcpyDtoHAsync {LOGITS}",
        "cuEventRecord",
        "cuEventSynchronize",
    ]


def test_events_block_where_the_host_is_to_block(opened, driver):
    opened(wait="block")
    assert driver.log().count("cuEventCreate 1") == 4  # CU_EVENT_BLOCKING_SYNC


FLUSH = [f"cuMemsetD8Async {2 * (4 << 20)}", "cuStreamSynchronize"]  # twice a T4's L2 cache


def test_the_l2_cache_is_flushed_before_a_sample_and_outside_of_its_time(opened, driver):
    live = opened(flush_l2=True, transfers=False)
    assert f"cuMemAlloc {2 * (4 << 20)}" in driver.log()
    live.sample()
    sample = ["cuEventRecord", "cuGraphLaunch", "cuEventRecord", "cuEventSynchronize", "cuEventElapsedTime"]
    assert driver.log() == FLUSH + sample


def test_the_l2_cache_is_flushed_by_preparing_images_and_not_by_the_inference(opened, driver):
    live = opened(flush_l2=True)
    driver.log()
    prepared = live.prepare(golden.images(8))
    assert driver.log() == FLUSH
    live.infer(prepared)
    assert FLUSH[0] not in driver.log()


def test_pageable_memory_is_not_allocated_by_the_driver(engine, driver):
    inferred(engine, pinned=False)
    assert not [call for call in driver.log() if call.startswith("cuMemHostAlloc")]


def test_samples_allocate_nothing(opened, driver):
    live = opened()
    live.infer(golden.images(8))
    before = driver.counts()
    for _ in range(10):
        live.sample()
    assert driver.counts() == before
    live.close()


# --- captures that fail ---


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("cuStreamBeginCapture:1:800", "cuStreamBeginCapture_v2 failed: operation not permitted"),
        (
            "cuLaunchHostFunc:2:900",
            "tiny-fp32-b4.engine cannot be run: the computation was not enqueued. "
            "TensorRT reports: execute_async_v3: CUDA error 900",
        ),
        ("cuStreamEndCapture:1:901", "cuStreamEndCapture failed: operation failed due to a previous error during capture"),
        ("cuGraphInstantiate:1:2", "cuGraphInstantiateWithFlags failed: out of memory"),
    ],
)
def test_where_no_graph_can_be_captured_the_work_is_enqueued_and_the_reason_reported(engine, driver, fault, why):
    plain = inferred(engine)[0]
    driver.fail(fault)
    logits, _, settings = inferred(engine)
    assert (logits == plain).all()
    assert settings["cuda graph"] == f"off: {why}"


def test_without_fallback_a_graph_that_cannot_be_captured_is_an_error(engine, driver):
    driver.fail("cuStreamEndCapture:1:901")
    with pytest.raises(RunError) as caught:
        session(engine, fallback=False)
    assert str(caught.value) == (
        "tiny-fp32-b4.engine cannot be run as a CUDA graph: cuStreamEndCapture failed: operation failed due to a previous "
        "error during capture. To measure without: --cuda-graph off"
    )
    assert not driver.counts()


def test_an_engine_that_allocates_at_every_enqueue_runs_without_a_graph(engine, script):
    script.allocates = True
    logits, _, settings = inferred(engine)
    assert settings["cuda graph"].startswith("off: tiny-fp32-b4.engine cannot be run: the computation was not enqueued")
    assert abs(logits).max() > 0


def test_an_engine_that_cannot_be_enqueued_after_its_capture_failed_is_not_opened(engine, driver):
    driver.fail("cuLaunchHostFunc:2:719:lasting")
    with pytest.raises(RunError, match="the computation was not enqueued"):
        session(engine)


# --- failures ---


@pytest.mark.parametrize("number", range(1, 8))
def test_memory_that_runs_out_at_any_allocation_is_a_memory_error_and_all_is_freed(engine, driver, number):
    driver.fail(f"allocation:{number}:2:lasting")
    with pytest.raises(MemoryError, match=r"^tiny-fp32-b4.engine cannot be run: .*(out of memory|could not be allocated)"):
        inferred(engine)
    assert not driver.counts()


def test_a_gpu_that_is_lost_during_a_sample_is_an_error(opened, driver):
    live = opened()
    live.infer(golden.images(8))
    driver.fail("work:3:700")
    with pytest.raises(
        RunError, match=r"tiny-fp32-b4.engine cannot be run: cuEventSynchronize failed: an illegal memory access"
    ):
        live.sample()
    with pytest.raises(RunError, match="an illegal memory access"):
        live.sample()


@pytest.mark.parametrize("cuda_graph", [True, False], ids=["graph", "plain"])
def test_a_launch_that_fails_is_an_error(opened, driver, cuda_graph):
    live = opened(cuda_graph=cuda_graph)
    driver.fail("cuGraphLaunch:1:719", "cuLaunchHostFunc:1:719")
    words = "cuGraphLaunch failed: unspecified launch failure" if cuda_graph else "execute_async_v3: CUDA error 719"
    with pytest.raises(RunError, match=words):
        live.sample()


def test_a_driver_without_devices_is_an_error(engine, driver):
    driver.fail("cuInit:1:100")
    with pytest.raises(MachineError, match="The NVIDIA driver cannot open device 0: cuInit failed: no CUDA-capable device"):
        session(engine)


@pytest.mark.parametrize("code", [999, 700])
@pytest.mark.parametrize("lasting", ["", ":lasting"], ids=["once", "for-good"])
@pytest.mark.parametrize("cuda_graph", [True, False], ids=["graph", "plain"])
def test_whichever_call_fails_everything_is_freed(engine, driver, cuda_graph, lasting, code):
    """Each call of a session in turn fails. The session must go on or raise one of our errors, and free everything."""
    plain, _, _ = inferred(engine, cuda_graph=cuda_graph)
    calls = driver.log()
    outcomes = set()
    for number, call in enumerate(calls, start=1):
        driver.fail(f"call:{number}:{code}{lasting}")
        try:
            logits, _, _ = inferred(engine, cuda_graph=cuda_graph)
            assert (logits == plain).all(), call
            outcomes.add("went on")
        except (TrtzooError, MemoryError) as error:
            outcomes.add(type(error).__name__)
        driver.fail()
        left = driver.counts()
        assert not left, f"{left} when {call} (call {number}) fails"
    assert outcomes >= {"went on", "RunError", "MachineError"}


@pytest.mark.parametrize("number", range(1, 14))
def test_whichever_work_fails_everything_is_freed(engine, driver, number):
    driver.fail(f"work:{number}:719")
    with pytest.raises(RunError, match=r"unspecified launch failure|CUDA error 719"):
        inferred(engine)
    assert not driver.counts()


def test_resources_are_freed_while_the_error_is_still_referenced(opened, driver):
    driver.fail("cuMemsetD8Async:1:999")
    live = opened()
    with pytest.raises(RunError) as kept:
        live.infer(golden.images(8))
    live.close()
    assert not driver.counts()
    assert "unknown error" in str(kept.value)
