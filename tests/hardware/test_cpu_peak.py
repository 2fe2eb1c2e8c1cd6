"""The processor's peak: the best kernel of several, in turns without other programs."""

import time

import pytest

from trtzoo.hardware import cpu_peak
from trtzoo.hardware.cpu_peak import measure_peak


def test_the_peak_is_plausible_and_has_its_kernel_and_range():
    peak = measure_peak(1)
    assert 1e9 < peak.low <= peak.rate < 1e14
    assert (peak.turns, peak.threads) == (5, 1)
    assert any(peak.kernel.startswith(name) for name in ("NumPy's ", "PyTorch's ", "ONNX Runtime's ", "OpenVINO's "))


def test_a_peak_that_cannot_be_measured_is_none():
    assert measure_peak(-1) is None


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
