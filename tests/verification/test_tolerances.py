"""When an engine may stand in for its reference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trtzoo.core.precisions import PRECISIONS
from trtzoo.runtimes.registry import RUNTIMES
from trtzoo.verification.tolerances import (
    LabelledOutcome,
    PairedMetrics,
    block_limit,
    difference_interval,
    images_needed,
    judge,
    kept_at_most,
    kept_limit,
    parity_limit,
    top1_kept,
)

CPU = "onnxruntime"


def paired(*, images=1000, flips=0, error=0.0, rms=0.0, reference=None, engine=None):
    labelled = None
    if reference is not None:
        lost, won = max(reference - engine, 0), max(engine - reference, 0)
        labelled = LabelledOutcome(reference=reference, engine=engine, lost=lost, won=won, p=1.0)
    return PairedMetrics(
        images=images,
        same_top1=images - flips,
        same_top5=images,
        flips=flips,
        margin=0.0,
        error=error,
        rms=rms,
        cosine=1.0,
        worst=0,
        labelled=labelled,
    )


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_precision_has_limits_and_no_error_passes(name):
    assert judge(name, CPU, paired(), classes_count=True) == []


@pytest.mark.parametrize(("name", "bits"), [("fp32", 24), ("tf32", 11), ("fp16", 11)])
def test_limits_are_between_a_random_walk_and_a_thousand_roundings(name, bits):
    limit = parity_limit(name, CPU) / 2.0**-bits
    walk = math.sqrt(2 * 264 / 3) * 5 / 3.5
    assert walk < limit < 1000


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("fp32", 5e-5, "a logit differs by 5e-05 of max|logit| (limit for fp32: 4e-05)"),
        ("fp16", 3e-2, "a logit differs by 0.03 of max|logit| (limit for fp16: 0.02)"),
        ("tf32", 3e-2, "a logit differs by 0.03 of max|logit| (limit for tf32: 0.02)"),
    ],
)
def test_a_logit_too_far_off_fails(name, error, sentence):
    assert judge(name, CPU, paired(error=error), classes_count=False) == [sentence]
    assert judge(name, CPU, paired(error=parity_limit(name, CPU)), classes_count=False) == []


def test_an_offset_of_all_logits_fails_though_each_is_within_its_limit():
    (reason,) = judge("fp16", CPU, paired(error=1e-2, rms=1e-2), classes_count=False)
    assert reason == "logits differ by 0.01 of max|logit| RMS (limit for fp16: 0.005)"


@pytest.mark.parametrize(("right", "fails"), [(900, False), (891, False), (890, True)])
def test_99_percent_of_the_correct_images_of_the_reference_must_be_kept(right, fails):
    reasons = judge("fp32", CPU, paired(flips=100, reference=900, engine=right), classes_count=True)
    reason = "890 of 1000 images are classified right; the reference has 900 (at least 99% of them must be kept)"
    assert reasons == ([reason] if fails else [])


@pytest.mark.parametrize(("flips", "fails"), [(10, False), (11, True)])
def test_without_labels_the_classes_of_the_reference_count_as_right(flips, fails):
    reasons = judge("fp32", CPU, paired(flips=flips), classes_count=True)
    assert reasons == (["11 of 1000 images have another class than the reference's (limit 1%)"] if fails else [])


def test_meaningless_classes_are_not_judged():
    assert judge("fp32", CPU, paired(flips=900, reference=900, engine=0), classes_count=False) == []


def test_deeper_blocks_have_wider_limits():
    limits = [block_limit(layers, "fp16") for layers in (1, 10, 100, 264)]
    assert limits == sorted(limits) and limits[0] > 2**-11 and limits[-1] < 0.06


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_only_kernels_on_a_gpu_may_use_winograd_and_only_fp32_s_limit_is_another(runtime):
    on_gpu = RUNTIMES[runtime].device == "gpu"
    assert parity_limit("fp32", runtime) == pytest.approx(9e-5 if on_gpu else 4e-5)
    assert parity_limit("fp16", runtime) == parity_limit("fp16", CPU)
    reasons = judge("fp32", runtime, paired(error=5e-5), classes_count=False)
    assert bool(reasons) != on_gpu


@pytest.mark.parametrize(
    ("lost", "won", "images", "limit"),
    [
        (0, 0, 268, 0.99),  # 1.645² x 0.99 / 0.01: the fewest images that prove 99 %
        (0, 0, 100, 0.9736),
        (1, 0, 360, 0.98765),  # as Wilson's limit of 1 in 360
        (0, 0, 50_000, 0.99995),
        (300, 100, 50_000, 0.9953),  # about (won - lost - 1.645 √(won + lost)) / images
        (20, 20, 1000, 0.9893),
    ],
)
def test_the_lower_limit_of_what_is_kept_is_tango_s(lost, won, images, limit):
    assert kept_limit(known=images, lost=lost, won=won, images=images) == pytest.approx(limit, abs=1e-4)


def test_what_is_kept_counts_against_the_answers_that_the_reference_has_right():
    half = kept_limit(known=500, lost=0, won=0, images=1000)
    assert 1 - half == pytest.approx(2 * (1 - kept_limit(known=1000, lost=0, won=0, images=1000)))


def test_int8_is_judged_by_classes_that_images_must_prove_and_by_cosine():
    far = paired(images=1000, error=0.3, rms=0.1)
    assert judge("int8", CPU, far, classes_count=True) == []
    (reason,) = judge("int8", CPU, paired(images=100), classes_count=True)
    assert reason == (
        "100 images (0 with another class) do not prove that 99% of the reference's top-1 is kept: "
        "the lower 95 % limit is 97.4%"
    )
    assert judge("int8", CPU, paired(images=100), classes_count=False) == []
    turned = replace(paired(), cosine=0.8)
    assert judge("int8", CPU, turned, classes_count=False) == [
        "the logits of an image have cosine 0.800 with the reference's (at least 0.9)"
    ]


# --- the interval of a paired difference ---


@given(st.integers(1, 3000), st.data())
def test_the_limits_enclose_what_was_counted_and_swap_with_lost_and_won(images, data):
    known = data.draw(st.integers(0, images))
    lost, won = data.draw(st.integers(0, known)), data.draw(st.integers(0, images - known))
    counts = {"known": known, "lost": lost, "won": won, "images": images}
    assert kept_limit(**counts) <= 1 + (won - lost) / max(known, 1) + 1e-9
    assert kept_at_most(**counts) >= 1 + (won - lost) / max(known, 1) - 1e-9
    outcome = LabelledOutcome(reference=known, engine=known - lost + won, lost=lost, won=won, p=1.0)
    low, high = difference_interval(replace(paired(images=images), labelled=outcome))
    assert -1 <= low <= (won - lost) / images <= high <= 1
    outcome = LabelledOutcome(reference=known - lost + won, engine=known, lost=won, won=lost, p=1.0)
    assert difference_interval(replace(paired(images=images), labelled=outcome)) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("share", [0.002, 0.02, 0.1])
def test_the_interval_holds_the_true_difference_in_nineteen_of_twenty_samples(share):
    random, images, trials = np.random.default_rng(1), 500, 400
    held = 0
    for _ in range(trials):
        lost, won, _ = random.multinomial(images, [share, share / 2, 1 - 1.5 * share])
        known = images - int(won)
        outcome = LabelledOutcome(reference=known, engine=known - int(lost) + int(won), lost=int(lost), won=int(won), p=1.0)
        low, high = difference_interval(replace(paired(images=images), labelled=outcome))
        held += low <= -share / 2 <= high
    assert held / trials >= 0.92


@pytest.mark.parametrize(("images", "flips"), [(20, 0), (100, 0), (360, 2), (1000, 5), (500, 8)])
def test_as_many_images_as_are_asked_for_decide_and_one_fewer_do_not(images, flips):
    def decided(count):
        counts = {"known": count, "lost": flips * count / images, "won": 0, "images": count}
        return kept_limit(**counts) >= 0.99 or kept_at_most(**counts) < 0.99

    needed = images_needed(paired(images=images, flips=flips))
    assert decided(needed) and not decided(needed - 1) and needed > images


def test_without_a_loss_268_images_are_needed_and_at_the_limit_no_number_is_enough():
    assert images_needed(paired(images=10)) == 268
    assert top1_kept(paired(images=268)) >= 0.99 > top1_kept(paired(images=267))
    assert images_needed(paired(images=1000, flips=10)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"images": 0},
        {"flips": -1},
        {"flips": 1001},
        {"cosine": 1.5},
        {"rms": -1.0},
        {"worst": 5000},
        {"same_top1": 1001},
        {"error": math.nan},
    ],
)
def test_metrics_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match="that cannot be"):
        replace(paired(), **change)


@pytest.mark.parametrize("counts", [(10, 9, 0, 0), (10, 12, 0, 1), (10, -1, 11, 0), (5, 5, -1, -1)])
def test_right_answers_are_those_of_the_reference_without_the_lost_and_with_the_won(counts):
    with pytest.raises(ValueError, match="that cannot be"):
        LabelledOutcome(**dict(zip(("reference", "engine", "lost", "won"), counts, strict=True)), p=1.0)
