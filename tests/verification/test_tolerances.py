"""When an engine may stand in for its reference."""

import math

import pytest
from msgspec.structs import replace

from trtzoo.core.precisions import PRECISIONS
from trtzoo.runtimes.registry import RUNTIMES
from trtzoo.verification.tolerances import LabelledOutcome, PairedMetrics, block_limit, judge, kept_limit, parity_limit

CPU = "onnxruntime"


def paired(*, images=1000, flips=0, error=0.0, rms=0.0, reference=None, engine=None):
    labelled = None if reference is None else LabelledOutcome(reference=reference, engine=engine, lost=0, won=0, p=1.0)
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


def test_nan_passes_nothing():
    assert len(judge("fp16", CPU, paired(error=math.nan, rms=math.nan), classes_count=False)) == 2


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
