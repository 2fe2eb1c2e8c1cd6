"""The processor's peak: the best kernel of several, in turns without other programs."""

import os
import time

import pytest

from trtzoo.core.records import CpuPeak
from trtzoo.hardware import cpu_peak
from trtzoo.hardware.cpu_peak import find_peak, measure_peak, peak_path


def test_the_peak_is_plausible_and_has_its_kernel_and_range():
    peak = measure_peak(1)
    assert 1e9 < peak.low <= peak.rate < 1e14
    assert (peak.turns, peak.threads) == (5, 1)
    assert any(peak.kernel.startswith(name) for name in ("NumPy's ", "PyTorch's ", "ONNX Runtime's ", "OpenVINO's "))


def test_a_peak_that_cannot_be_measured_is_none():
    assert measure_peak(-1) is None


@pytest.fixture
def measured(monkeypatch):
    """A function that finds the peak; each measurement gives the next of the test's peaks."""
    found = []
    monkeypatch.setattr(cpu_peak, "measure_peak", lambda threads: found.pop(0))

    def find(*peaks):
        found[:] = peaks
        return [find_peak(2) for _ in peaks]

    return find


def peak(rate, *, other_load=0.0):
    return CpuPeak(rate=rate, low=rate, kernel="a product", turns=5, threads=2, other_load=other_load)


def test_a_peak_measured_in_quiet_is_kept_for_a_week(measured):
    assert [each.rate for each in measured(peak(4e9), peak(5e9))] == [4e9, 4e9]
    old = time.time() - cpu_peak.AGE - 1
    os.utime(peak_path(2), (old, old))
    assert [each.rate for each in measured(peak(6e9))] == [6e9]


def test_a_peak_measured_beside_other_programs_is_measured_again(measured):
    assert [each.rate for each in measured(peak(4e9, other_load=1), peak(5e9), peak(6e9))] == [4e9, 5e9, 5e9]


def test_a_damaged_peak_is_measured_again(measured):
    measured(peak(4e9))
    peak_path(2).write_text('{"rate": -1}')
    assert [each.rate for each in measured(peak(5e9))] == [5e9]


def test_each_number_of_threads_and_each_version_has_a_peak_of_its_own(monkeypatch):
    names = {peak_path(1).name, peak_path(2).name}
    monkeypatch.setattr(cpu_peak, "version", lambda name: "0.1")
    assert len(names | {peak_path(1).name}) == 3


class Load:
    """Other programs' cores, turn by turn."""

    def __init__(self, *cores):
        self.turns = list(cores)

    def __call__(self):
        return self

    def __enter__(self):
        self.cores = self.turns.pop(0)
        return self

    def __exit__(self, *_):
        pass


def best(monkeypatch, loads, delays):
    """The peak by kernels that take these seconds, of 1e9 FLOPs each, beside these loads."""
    monkeypatch.setattr(cpu_peak, "OtherLoad", Load(*loads))
    monkeypatch.setattr(cpu_peak, "SHARE", 0.001)
    kernels = [(name, 10**9, lambda seconds=seconds: time.sleep(seconds)) for name, seconds in delays.items()]
    return cpu_peak._best(kernels, 2)


def test_the_fastest_kernel_is_the_peak(monkeypatch):
    peak = best(monkeypatch, [0.0] * 5, {"slow": 0.02, "fast": 0.002, "middle": 0.01})
    assert peak.kernel == "fast" and 1e11 < peak.low <= peak.rate < 5e11
    assert peak.is_quiet and peak.other_load == 0


def test_turns_beside_other_programs_are_repeated_until_enough_are_quiet(monkeypatch):
    loads = [1.5, 0.0, 0.9, 0.05, 0.0, 0.3, 0.02, 0.1]
    peak = best(monkeypatch, loads, {"one": 0.001})
    assert peak.is_quiet and peak.other_load == 0.1


def test_a_peak_that_never_had_a_quiet_turn_says_so(monkeypatch):
    monkeypatch.setattr(cpu_peak, "WAIT", 0.0)
    peak = best(monkeypatch, [1.0, 0.8, 1.2, 0.9, 0.7], {"one": 0.001})
    assert not peak.is_quiet and peak.other_load == pytest.approx(1.2)
