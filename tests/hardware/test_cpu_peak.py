"""The processor's rate of float32 matrix products."""

from trtzoo.hardware.cpu_peak import measure_peak


def test_the_rate_is_plausible():
    assert 1e9 < measure_peak(1) < 1e14


def test_a_rate_that_cannot_be_measured_is_none():
    assert measure_peak(-1) is None
