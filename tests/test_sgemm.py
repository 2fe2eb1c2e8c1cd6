"""The processor's rate of float32 products."""

from trtzoo.sgemm import ask


def test_the_rate_is_that_of_a_processor():
    assert 1e9 < ask(1) < 1e14


def test_a_rate_that_cannot_be_measured_is_none():
    assert ask(-1) == 0.0
