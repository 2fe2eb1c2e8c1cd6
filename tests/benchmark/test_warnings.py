"""Doubt: a run that is not to be trusted says what was seen and what helps."""

import pytest

from tests.report.results import DEVICE, result
from trtzoo.benchmark.warnings import WARNINGS, warning_sentence
from trtzoo.core.records import Device, Failure, GpuState, Sample, Span

GPU = Device(key="tesla-t4", name="Tesla T4", kind="gpu")
STEADY = (0.010,) * 30


def on_gpu(**parts):
    sample = Sample(**({"total": 0.004, "compute": 0.004} | parts))
    return result(device=GPU, seconds=()).__class__(case=result().case, device=GPU, samples=(sample,) * 30)


def watched(**state):
    return result(device=GPU, seconds=STEADY, gpu_state=GpuState(**{"readings": 30} | state))


def clock(low, high):
    return Span(low=low * 1e6, median=high * 1e6, high=high * 1e6)


def test_a_steady_run_leaves_no_doubt():
    assert warning_sentence(result(seconds=STEADY)) == ""
    assert warning_sentence(on_gpu()) == ""
    assert warning_sentence(watched(sm_clock=clock(1515, 1590), others=0)) == ""


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (result(seconds=STEADY, other_load=0.9), "other programs used 0.9 cores: stop them and measure again"),
        (watched(others=2), "2 other processes have the GPU open: stop them and measure again; nvidia-smi names them"),
        (
            watched(reasons={"software thermal slowdown": 12}),
            "software thermal slowdown in 12 of 30 readings: cool the GPU, or hold it at a clock it can keep: nvidia-",
        ),
        (
            watched(reasons={"software power cap": 30, "hardware power brake": 2}),
            "software power cap in 30 of 30 readings and hardware power brake in 2 of 30 readings: hold the GPU at a clock it",
        ),
        (watched(sm_clock=clock(900, 1590)), "the SM clock ran between 900 and 1590 MHz (limit 5%): hold the GPU at a clock"),
        (result(seconds=(0.010,) * 29 + (0.030,)), "samples spread by 34% of their mean (limit 10.0%): give it more time"),
        (result(seconds=(0.010, 0.0105) * 6), "the median is known to ±2.4% only (limit 2%): give it more time"),
        (result(seconds=(0.010,) * 40 + (0.011,) * 20), "the last third ran +10% against the first (limit 5%): let the"),
        (on_gpu(enqueue=0.0036), "host-bound: enqueueing takes 90% of the compute time: try --cuda-graph on"),
        (on_gpu(h2d=0.006, d2h=0.002), "copy-bound: transfers take 2.0 times the compute time: export with FP16 input"),
        (watched(error="NVML: GPU is lost"), "the GPU was watched for 30 readings only (NVML: GPU is lost): see how it fares"),
    ],
    ids=[flag.name for flag in WARNINGS],
)
def test_each_flag_names_its_number_and_what_helps(run, sentence):
    assert warning_sentence(run).startswith(sentence)


def test_causes_come_before_effects_and_give_the_advice():
    shaken = result(seconds=(0.010,) * 15 + (0.030,) * 15, other_load=1.0)
    assert warning_sentence(shaken) == (
        "other programs used 1.0 cores, samples spread by 51% of their mean (limit 10.0%), the median is known to ±50.0% only "
        "(limit 2%), the last third ran +200% against the first (limit 5%): stop them and measure again"
    )


def test_a_hot_gpu_is_told_with_all_that_comes_of_it():
    shaken = {"sm_clock": clock(900, 1590), "reasons": {"hardware slowdown": 3, "hardware thermal slowdown": 3}, "others": 1}
    assert warning_sentence(watched(**shaken)) == (
        "1 other process has the GPU open, hardware thermal slowdown in 3 of 30 readings, "
        "hardware slowdown in 3 of 30 readings, the SM clock ran between 900 and 1590 MHz (limit 5%): stop "
        "them and measure again; nvidia-smi names them"
    )


def test_a_gpu_that_nobody_watched_is_a_doubt_of_its_own():
    assert warning_sentence(watched(readings=0, error="no NVML.")).startswith(
        "the GPU was not watched (no NVML): see how it fares"
    )


def test_a_gpus_samples_are_held_to_trtexecs_limit():
    seconds = (0.0100, 0.0100, 0.0100, 0.0110) * 10
    assert warning_sentence(result(seconds=seconds)) == ""
    assert "(limit 2.5%)" in warning_sentence(result(seconds=seconds, device=GPU))


def test_a_failure_is_not_doubted():
    assert warning_sentence(result(seconds=(), failure=Failure(kind="crash", reason=""))) == ""
    assert DEVICE.kind == "cpu"
