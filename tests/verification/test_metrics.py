"""Paired statistics of two logits arrays."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.core.errors import WrongOutputError
from trtzoo.verification import tolerances
from trtzoo.verification.tolerances import compare, mcnemar


def logits(seed: int = 0, images: int = 50, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((images, classes))


def exact(lost, won):
    """Twice the probability of so uneven a split or a more uneven one, in integers."""
    tail = sum(math.comb(lost + won, k) for k in range(min(lost, won) + 1))
    return float(min(Fraction(2 * tail, 2 ** (lost + won)), Fraction(1)))


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_p_value_of_mcnemar_is_exact(lost, won):
    assert mcnemar(lost, won) == pytest.approx(exact(lost, won), rel=1e-9)


def test_the_p_value_of_mcnemar_is_exact_for_a_whole_imagenet():
    assert mcnemar(20_000, 20_000) == 1.0
    assert mcnemar(1_900, 2_000) == pytest.approx(exact(1_900, 2_000), rel=1e-9)
    assert mcnemar(0, 50_000) == 0.0


def test_a_network_equals_itself():
    found = compare(logits(), logits(), np.zeros(50, int))
    assert (found.error, found.rms, found.flips, found.margin, found.worst) == (0, 0, 0, 0, 0)
    assert found.same_top1 == found.same_top5 == found.images == 50
    assert found.cosine == pytest.approx(1)
    assert found.labelled.lost == found.labelled.won == 0 and found.labelled.p == 1


def test_flips_are_counted_each_way_with_the_margin_of_the_reference():
    reference = np.array([[4.0, 3, 0], [4, 3, 0], [4, 3, 0], [0, 3, 4.0]])
    engine = np.array([[4.0, 3, 0], [3, 3.5, 0], [3, 3.5, 0], [0, 4, 3.5]])
    found = compare(engine, reference, np.array([0, 0, 1, 0]))
    assert (found.flips, found.same_top1, found.same_top5) == (3, 1, 4)
    assert found.margin == 0.25  # the reference had 4 for its class and 3 for the engine's, of max|logit| 4
    labelled = found.labelled
    assert (labelled.reference, labelled.engine, labelled.lost, labelled.won, labelled.p) == (2, 2, 1, 1, 1.0)


def test_errors_are_relative_to_the_largest_logit_of_all_images():
    reference = np.array([[1.0, 0, 0], [-8, 1, 2]])
    engine = reference + np.array([[0.0, 0, 0], [0, 0.4, -0.8]])
    found = compare(engine, reference)
    assert found.error == pytest.approx(0.1) and found.worst == 1
    assert found.rms == pytest.approx(np.sqrt((0.16 + 0.64) / 6) / 8)
    assert found.cosine == pytest.approx(engine[1] @ reference[1] / np.linalg.norm(engine[1]) / np.linalg.norm(reference[1]))
    assert found.labelled is None


def test_the_lower_class_of_equal_logits_comes_first():
    tie = np.array([[1.0, 1.0, 0.0]])
    found = compare(np.array([[1.0, 1.0 + 1e-9, 0.0]]), tie)
    assert found.flips == 1 and found.margin == 0


def test_the_top_five_are_a_set_and_may_be_fewer_classes():
    swapped = np.array([[5.0, 4, 3, 2, 1, 0]])
    assert compare(swapped[:, [1, 0, 2, 3, 4, 5]], swapped).same_top5 == 1
    assert compare(swapped[:, [0, 1, 2, 3, 5, 4]], swapped).same_top5 == 0
    assert compare(np.array([[1.0, 2]]), np.array([[2.0, 1]])).same_top5 == 1


@given(st.integers(0, 2**32 - 1), st.floats(1e-8, 1), st.floats(1e-3, 1e3))
def test_the_margin_is_at_most_twice_the_error_and_nothing_depends_on_the_scale(seed, noise, scale):
    reference = logits(seed)
    engine = reference + noise * logits(seed + 1)
    found = compare(engine, reference)
    assert found.same_top1 + found.flips == found.images
    assert found.margin <= 2 * found.error * (1 + 1e-9)
    assert found.rms <= found.error
    assert -1 <= found.cosine <= 1
    scaled = compare(engine * scale, reference * scale)
    assert (scaled.error, scaled.rms) == (pytest.approx(found.error), pytest.approx(found.rms))


def test_the_number_of_rows_per_step_changes_nothing(monkeypatch):
    reference, labels = logits(), np.arange(50) % 10
    whole = compare(reference + 0.3 * logits(1), reference, labels)
    monkeypatch.setattr(tolerances, "ROWS", 7)
    assert compare(reference + 0.3 * logits(1), reference, labels) == whole


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        (np.zeros((2, 4)), r"the output has shape \[2, 4\] where \[2, 3\] was expected"),
        (np.array([[1, 2, np.nan], [np.inf, 0, 1]]), "2 of 6 logits are NaN or infinite"),
        (np.full((2, 3), 0.5), "all logits are 0.5"),
    ],
)
def test_invalid_outputs_are_an_error(engine, sentence):
    with pytest.raises(WrongOutputError, match=f"^{sentence}$"):
        compare(engine, np.arange(6.0).reshape(2, 3))
