"""Warnings: a doubtful result says what was measured and what helps."""

import pytest
from msgspec.structs import replace

from tests.report.results import result
from trtzoo.benchmark.warnings import WARNINGS, warning_sentence
from trtzoo.core.records import Device, Failure, GpuState, Result, Sample, Span

GPU = Device(key="tesla-t4", name="Tesla T4", kind="gpu")
STEADY = (0.010,) * 30


def on_gpu(**parts):
    sample = Sample(**({"total": 0.004, "compute": 0.004} | parts))
    return Result(case=result().case, device=GPU, samples=(sample,) * 30)


def monitored(**state):
    return result(device=GPU, seconds=STEADY, gpu_state=GpuState(**{"readings": 30} | state))


def clock(low, high):
    return Span(low=low * 1e6, median=high * 1e6, high=high * 1e6)


def test_a_steady_run_has_no_warning():
    assert warning_sentence(result(seconds=STEADY)) == ""
    assert warning_sentence(on_gpu()) == ""
    assert warning_sentence(monitored(sm_clock=clock(1515, 1590), others=0)) == ""


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (
            result(seconds=STEADY, settings={"cuda graph": "off: cuStreamEndCapture failed: x"}),
            "measured without a CUDA graph, which could not be captured (cuStreamEndCapture failed: x): to measure so on",
        ),
        (result(seconds=STEADY, other_load=0.9), "other programs used 0.9 cores (limit 0.15): stop them and measure again"),
        (monitored(others=2), "2 other processes have the GPU open: stop them and measure again; nvidia-smi lists them"),
        (
            monitored(reasons={"software thermal slowdown": 12}),
            "software thermal slowdown in 12 of 30 readings: cool the GPU, or lock the GPU at a clock it can sustain: nvidia-",
        ),
        (
            monitored(reasons={"hardware power brake": 2, "hardware slowdown": 2}),
            "hardware power brake in 2 of 30 readings and hardware slowdown in 2 of 30 readings: lock the GPU at a clock it",
        ),
        (
            monitored(reasons={"software power cap": 30}),
            "software power cap in 30 of 30 readings: lock the GPU at a clock it",
        ),
        (monitored(sm_clock=clock(900, 1590)), "the SM clock ran between 900 and 1590 MHz (limit 5%): lock the GPU at a clock"),
        (result(seconds=(0.010,) * 29 + (0.030,)), "the standard deviation is 34% of the mean (limit 10.0%): sample longer"),
        (result(seconds=(0.010, 0.0105) * 6), "the median is uncertain by ±2.4% (limit 2%): sample longer"),
        (
            result(seconds=(0.010,) * 40 + (0.011,) * 20),
            "the last third of the run was 10% slower than the first (limit 5%)",
        ),
        (on_gpu(enqueue=0.0036), "host-bound: enqueueing takes 90% of the compute time: try --cuda-graph on"),
        (on_gpu(h2d=0.006, d2h=0.002), "copy-bound: transfers take 2.0 times the compute time: export with FP16 input"),
        (monitored(error="NVML: GPU is lost"), "the GPU was monitored for 30 readings only (NVML: GPU is lost): check the GPU"),
    ],
    ids=list(WARNINGS),
)
def test_each_warning_shows_its_value_and_what_helps(run, sentence):
    assert warning_sentence(run).startswith(sentence)


@pytest.mark.parametrize(("noisy", "doubtful"), [("total", False), ("compute", True)])
def test_noise_is_judged_on_the_reported_metric(noisy, doubtful):
    """trtexec11 reports the compute time."""
    samples = [Sample(**{"total": 0.03, "compute": 0.02, noisy: 0.03 + 0.01 * (n // 15)}) for n in range(30)]
    sentence = warning_sentence(of_protocol("trtexec11", samples))
    for clause in ("the standard deviation is", "the median is uncertain", "the last third"):
        assert (clause in sentence) == doubtful


def test_an_uncertain_mean_is_called_a_mean():
    samples = [Sample(total=0.01 + 0.01 * (n % 2), compute=0.01) for n in range(40)]
    assert "the mean is uncertain by ±10.5% (limit 2%)" in warning_sentence(of_protocol("paddle2020", samples))


def of_protocol(protocol, samples):
    return Result(case=replace(result().case, protocol=protocol), device=GPU, samples=tuple(samples))


@pytest.mark.parametrize(
    ("facts", "load", "limit"),
    [
        ({"available_cores": 64}, 4.7, None),
        ({"available_cores": 64}, 4.9, "4.9 cores (limit 4.8)"),
        ({"available_cores": 2}, 0.16, "0.2 cores (limit 0.15)"),
        ({"device": Device(key="a-cpu-64c", name="A CPU", kind="cpu", cores=64)}, 4.7, None),
        ({"device": GPU}, 0.16, "0.2 cores (limit 0.15)"),
    ],
    ids=["64 cores, quiet", "64 cores", "2 cores", "an older file of a processor", "an older file of a GPU"],
)
def test_other_programs_may_use_a_share_of_the_cores_that_we_may_use(facts, load, limit):
    found = warning_sentence(result(seconds=STEADY, other_load=load, **facts))
    assert found.partition(":")[0] == (f"other programs used {limit}" if limit else "")


def test_causes_come_before_effects_and_give_the_advice():
    shaken = result(seconds=(0.010,) * 15 + (0.030,) * 15, other_load=1.0)
    assert warning_sentence(shaken) == (
        "other programs used 1.0 cores (limit 0.15), the standard deviation is 51% of the mean (limit 10.0%), the median is "
        "uncertain by ±50.0% (limit 2%), the last third of the run was 200% slower than the first (limit 5%): stop them and "
        "measure again"
    )


def test_a_hot_gpu_is_reported_with_all_its_effects():
    shaken = {"sm_clock": clock(900, 1590), "reasons": {"hardware slowdown": 3, "hardware thermal slowdown": 3}, "others": 1}
    assert warning_sentence(monitored(**shaken)) == (
        "1 other process has the GPU open, hardware thermal slowdown in 3 of 30 readings, "
        "hardware slowdown in 3 of 30 readings, the SM clock ran between 900 and 1590 MHz (limit 5%): stop "
        "them and measure again; nvidia-smi lists them"
    )


def test_an_unmonitored_gpu_is_a_warning_of_its_own():
    assert warning_sentence(monitored(readings=0, error="no NVML.")).startswith(
        "the GPU was not monitored (no NVML): check the GPU"
    )


def test_samples_of_a_gpu_are_held_to_the_limit_of_trtexec():
    seconds = (0.0100, 0.0100, 0.0100, 0.0110) * 10
    assert warning_sentence(result(seconds=seconds)) == ""
    assert "(limit 2.5%)" in warning_sentence(result(seconds=seconds, device=GPU))


def test_a_failed_result_has_no_warning():
    assert warning_sentence(result(seconds=(), failure=Failure(kind="crash", reason=""))) == ""
