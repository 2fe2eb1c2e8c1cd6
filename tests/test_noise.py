"""Doubt: a run that is not to be trusted says what was seen and what helps."""

import pytest

from tests.report.test_tables import DEVICE, result
from trtzoo.noise import FLAGS, doubt
from trtzoo.spec import Device, Failure, Sample

GPU = Device(key="tesla-t4", name="Tesla T4", kind="gpu")
STEADY = (0.010,) * 30


def on_gpu(**parts):
    sample = Sample(**({"total": 0.004, "compute": 0.004} | parts))
    return result(device=GPU, seconds=()).__class__(case=result().case, device=GPU, samples=(sample,) * 30)


def test_a_steady_run_leaves_no_doubt():
    assert doubt(result(seconds=STEADY)) == ""
    assert doubt(on_gpu()) == ""


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (result(seconds=STEADY, other_load=0.9), "other programs used 0.9 cores: stop them and measure again"),
        (result(seconds=(0.010,) * 29 + (0.030,)), "samples spread by 34% of their mean (limit 10.0%): give it more time"),
        (result(seconds=(0.010, 0.0105) * 6), "the median is known to ±2.4% only (limit 2%): give it more time"),
        (result(seconds=(0.010,) * 40 + (0.011,) * 20), "the last third ran +10% against the first (limit 5%): let the"),
        (on_gpu(enqueue=0.0036), "host-bound: enqueueing takes 90% of the compute time: try --cuda-graph on"),
        (on_gpu(h2d=0.006, d2h=0.002), "copy-bound: transfers take 2.0 times the compute time: export with FP16 input"),
    ],
    ids=[flag.name for flag in FLAGS],
)
def test_each_flag_names_its_number_and_what_helps(run, sentence):
    assert doubt(run).startswith(sentence)


def test_causes_come_before_effects_and_give_the_advice():
    shaken = result(seconds=(0.010,) * 15 + (0.030,) * 15, other_load=1.0)
    assert doubt(shaken) == (
        "other programs used 1.0 cores, samples spread by 51% of their mean (limit 10.0%), the median is known to ±50.0% only "
        "(limit 2%), the last third ran +200% against the first (limit 5%): stop them and measure again"
    )


def test_a_gpus_samples_are_held_to_trtexecs_limit():
    seconds = (0.0100, 0.0100, 0.0100, 0.0110) * 10
    assert doubt(result(seconds=seconds)) == ""
    assert "(limit 2.5%)" in doubt(result(seconds=seconds, device=GPU))


def test_a_failure_is_not_doubted():
    assert doubt(result(seconds=(), failure=Failure(kind="crash", reason=""))) == ""
    assert DEVICE.kind == "cpu"
