"""The photographs that calibrate: which of a folder are chosen, and folders that cannot be used."""

import re
import shutil
from collections import Counter

import pytest

from tests.photographs import noise
from trtzoo.core.errors import DataError
from trtzoo.images.dataset import read_calibration


@pytest.fixture
def folder(tmp_path):
    """Class a with twenty images, b with four, c with two."""
    for name, count in (("a", 20), ("b", 4), ("c", 2)):
        for number in range(count):
            noise(tmp_path / "photographs" / name / f"{name}{number}.png", seed=number + 100 * ord(name))
    return tmp_path / "photographs"


def test_images_are_spread_over_classes_whatever_their_sizes(folder):
    data = read_calibration(folder, limit=9)
    assert Counter(image.path.parent.name for image in data.photographs) == {"a": 4, "b": 3, "c": 2}
    assert data.photographs == read_calibration(folder, limit=9).photographs and not data.notes


def test_another_image_is_another_fingerprint_and_the_order_of_files_is_not(folder):
    data = read_calibration(folder, limit=9)
    shutil.copytree(folder, folder.with_name("copy"))
    assert read_calibration(folder.with_name("copy"), limit=9).fingerprint == data.fingerprint
    noise(data.photographs[0].path, seed=1)
    assert read_calibration(folder, limit=9).fingerprint != data.fingerprint


def test_fewer_images_than_asked_are_all_used_and_said(folder):
    data = read_calibration(folder, limit=512)
    assert len(data.photographs) == 26
    assert data.notes == (f"{folder} has 26 images, and 512 were asked for: all of them are used.",)


def test_a_plain_folder_of_images_needs_no_classes(folder, tmp_path):
    (tmp_path / "plain").mkdir()
    for path in folder.rglob("*.png"):
        shutil.copy(path, tmp_path / "plain")
    assert len(read_calibration(tmp_path / "plain", limit=10).photographs) == 10


def test_one_class_calibrates_nothing_for_the_others(folder):
    for name in "bc":
        shutil.rmtree(folder / name)
    with pytest.raises(DataError, match="has images of one class only, 'a', and their ranges are not those of the others"):
        read_calibration(folder, limit=10)


def test_an_empty_folder_and_none_are_errors(tmp_path):
    with pytest.raises(DataError, match=re.escape("holds no images (.jpg, .jpeg, .png, .bmp, .webp) to calibrate with.")):
        read_calibration(tmp_path, limit=10)
    with pytest.raises(DataError, match="There is no folder"):
        read_calibration(tmp_path / "nowhere", limit=10)
