"""The golden sample, and the comparison with it that every later stage makes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trtzoo.artifacts import golden
from trtzoo.artifacts.golden import IMAGES, Golden, check_logits
from trtzoo.core.errors import StoreError, WrongOutputError

REFERENCE = np.array([[1.0, -2.0, 4.0], [0.5, 3.0, -1.0]])
LOGITS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2), elements=st.floats(-1e4, 1e4, width=32))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_equal_logits_of_any_type_have_no_error(kind: type) -> None:
    check = check_logits(REFERENCE.astype(kind), REFERENCE, tolerance=0.0)
    assert (check.error, check.tolerance, check.images) == (0.0, 0.0, 2)


def test_the_error_is_relative_to_the_largest_logit() -> None:
    assert check_logits(REFERENCE + np.array([[0, 0, 0.04], [0, 0, 0]]), REFERENCE, tolerance=0.02).error == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("logits", "sentence"),
    [
        (REFERENCE[:1], "the output has shape [1, 3] where [2, 3] was expected"),
        (REFERENCE.reshape(-1), "the output has shape [6] where [2, 3] was expected"),
        (REFERENCE * [[1, 1, np.nan], [1, 1, 1]], "1 of 6 logits are NaN or infinite"),
        (REFERENCE * [[np.inf], [-np.inf]], "6 of 6 logits are NaN or infinite"),
        (REFERENCE * 0, "all logits are 0"),
        (REFERENCE * 0 + 7.5, "all logits are 7.5"),
        (REFERENCE + np.array([[0, 0, 0], [0, 1, 0]]), "logits differ by 0.25 of max|logit| at image 1 (allowed 0.02)"),
        (REFERENCE[::-1], "logits differ by 1.2 of max|logit| at image 0 (allowed 0.02)"),
    ],
)
def test_wrong_logits_are_an_error_with_the_reason(logits: np.ndarray, sentence: str) -> None:
    with pytest.raises(WrongOutputError) as caught:
        check_logits(logits, REFERENCE, tolerance=0.02)
    assert str(caught.value) == sentence


@pytest.mark.filterwarnings("error")
def test_fp16_logits_are_not_compared_in_fp16() -> None:
    """60000 - (-60000) overflows FP16."""
    reference = np.array([[60000.0, -60000.0]])
    assert check_logits(reference.astype(np.float16), reference, tolerance=1e-3).error < 1e-3
    with pytest.raises(WrongOutputError):
        check_logits(-reference.astype(np.float16), reference, tolerance=1e-3)


@given(reference=LOGITS, scale=st.floats(0, 2), data=st.data())
def test_an_error_is_found_in_any_image(reference: np.ndarray, scale: float, data: st.DataObject) -> None:
    largest = np.abs(reference).max()
    if largest < 1e-3 or np.ptp(reference) < 1e-3:
        return
    image = data.draw(st.integers(0, len(reference) - 1))
    logits = reference.copy()
    logits[image, 0] += scale * largest
    if scale > 0.1 + 1e-9:
        with pytest.raises(WrongOutputError, match=r"differ|all logits"):
            check_logits(logits, reference, tolerance=0.1)
    elif scale < 0.1 - 1e-9:
        assert check_logits(logits, reference, tolerance=0.1).error == pytest.approx(scale, abs=1e-9)


@given(reference=LOGITS, factor=st.floats(1e-3, 1e3))
def test_the_error_does_not_depend_on_the_unit(reference: np.ndarray, factor: float) -> None:
    if np.ptp(reference) < 1e-3:
        return
    noisy = reference + 0.01 * np.abs(reference).max() * np.cos(np.arange(reference.size)).reshape(reference.shape)
    if np.ptp(noisy) == 0:
        return
    plain = check_logits(noisy, reference, tolerance=1.0).error
    assert check_logits(noisy * factor, reference * factor, tolerance=1.0).error == pytest.approx(plain)


@pytest.mark.parametrize("size", [32, 224, 231])
def test_images_are_reproducible_different_from_each_other_and_exact_in_fp16(size: int) -> None:
    images = golden.images(size)
    assert images.shape == (IMAGES, 3, size, size) and images.dtype == np.float32
    assert np.array_equal(images, golden.images(size))
    assert np.array_equal(images, images.astype(np.float16).astype(np.float32))
    assert 1 < np.abs(images).max() < 3
    assert min(np.abs(a - b).mean() for i, a in enumerate(images) for b in images[:i]) > 0.5


def test_a_sample_is_saved_and_loaded_without_loss(tmp_path: Path) -> None:
    sample = Golden(golden.images(32), np.random.default_rng(0).random((IMAGES, 7)))
    sample.save(tmp_path / "a.npz")
    sample.save(tmp_path / "b.npz")
    again = golden.load(tmp_path / "a.npz")
    assert np.array_equal(again.images, sample.images) and np.array_equal(again.logits, sample.logits)
    assert (again.images.dtype, again.logits.dtype) == (np.float32, np.float64)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_a_batch_of_any_size_repeats_the_images_with_their_logits(size: int) -> None:
    sample = Golden(np.arange(4.0).reshape(4, 1, 1, 1), np.arange(4.0).reshape(4, 1))
    images, logits = sample.batch(size)
    assert images.reshape(-1).tolist() == logits.reshape(-1).tolist() == [float(i % 4) for i in range(size)]


@pytest.mark.parametrize("content", ["missing", "empty", "text", "cut", "other arrays", "objects"])
def test_a_file_that_is_not_a_golden_sample_is_an_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    Golden(golden.images(32), np.zeros((IMAGES, 7))).save(path)
    if content == "missing":
        path.unlink()
    elif content == "other arrays":
        np.savez(path, x=np.zeros(3))
    elif content == "objects":
        np.savez(path, images=np.array([None]), logits=np.zeros(3))
    else:
        path.write_bytes({"empty": b"", "text": b"hello", "cut": path.read_bytes()[:-40]}[content])
    with pytest.raises(StoreError) as caught:
        golden.load(path)
    assert str(caught.value).startswith(f"{path} is not a golden sample (")


@pytest.mark.parametrize(
    ("images", "logits"),
    [
        (np.zeros((2, 3, 4, 4)), np.full((2, 3), np.nan)),
        (np.full((2, 3, 4, 4), np.inf), np.ones((2, 3))),
        (np.zeros((2, 3, 4, 4)), np.ones((1, 3))),
        (np.zeros((0, 3, 4, 4)), np.ones((0, 3))),
        (np.zeros((2, 3, 4)), np.ones((2, 3))),
        (np.zeros((2, 3, 4, 4)), np.ones(2)),
    ],
)
def test_a_sample_that_nothing_can_be_compared_with_is_refused(tmp_path: Path, images: np.ndarray, logits: np.ndarray) -> None:
    Golden(images, logits).save(tmp_path / "g.npz")
    with pytest.raises(StoreError, match=r"g\.npz is not a golden sample"):
        golden.load(tmp_path / "g.npz")


def test_a_compressed_sample_whose_arrays_could_be_of_any_size_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "g.npz", images=np.zeros((1, 3, 64, 64), np.float16), logits=np.ones((1, 4)))
    with pytest.raises(StoreError, match="it is compressed"):
        golden.load(tmp_path / "g.npz")


def test_a_truncated_or_changed_sample_gives_arrays_or_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    Golden(np.zeros((1, 3, 4, 4), np.float32), np.zeros((1, 7))).save(path)
    whole = path.read_bytes()
    cuts = [whole[:cut] for cut in range(0, len(whole), 11)]
    flips = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(len(whole))]
    for content in cuts + flips:
        path.write_bytes(content)
        try:
            golden.load(path)
        except StoreError as error:
            assert str(error).startswith(f"{path} is not a golden sample (")
