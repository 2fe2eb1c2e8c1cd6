"""`--preprocessing`: by name, or by a file that may hold anything."""

import msgspec
import pytest

from trtzoo.core.errors import UsageError
from trtzoo.models.preprocessing import find_preprocessing, preprocessing_title, with_preprocessing
from trtzoo.models.sources import PUBLISHERS, Checkpoint

IMAGENET = PUBLISHERS["torchvision"].preprocessing

WHOLE = """
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
interpolation = "bicubic"
decoder = "opencv"
resize = 40
crop = 32
epsilon = 1e-3
"""


def test_imagenet_is_torchvision_s_and_keeps_its_share_of_an_image_at_other_sizes():
    assert find_preprocessing("imagenet", 224, 224) == IMAGENET
    small = find_preprocessing("imagenet", 32, 32)
    assert (small.resize, small.crop, small.mean) == (37, 32, IMAGENET.mean)
    assert find_preprocessing("timm", 224, 224).interpolation == "bicubic"


def test_a_file_decides_what_it_names_and_imagenet_the_rest(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(WHOLE)
    found = find_preprocessing(str(path), 32, 32)
    assert msgspec.structs.astuple(found) == ("opencv", "bicubic", 40, 32, (0.5,) * 3, (0.25,) * 3)
    path.write_text("mean = [0.5, 0.5, 0.5]\n")
    assert find_preprocessing(str(path), 224, 224) == msgspec.structs.replace(IMAGENET, mean=(0.5,) * 3)


@pytest.mark.parametrize(("name", "title"), [("imagenet", "imagenet"), ("timm", "timm")])
def test_a_named_preprocessing_has_its_name_at_any_size(name, title):
    assert preprocessing_title(find_preprocessing(name, 96, 96)) == title


def test_another_preprocessing_is_described_by_its_numbers(tmp_path):
    (tmp_path / "my.toml").write_text(WHOLE)
    found = find_preprocessing(str(tmp_path / "my.toml"), 32, 32)
    assert preprocessing_title(found) == "mean 0.5 0.5 0.5, std 0.25 0.25 0.25, bicubic, 40/32, opencv"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mean = [0.5, 0.5]", "is no preprocessing: Expected `array` of length 3, got 2 - at `$.mean`."),
        ("mean = [0.5, 0.5, nan]", "is no preprocessing: "),
        ("std = [0, 0, 0]", "is no preprocessing: std is (0.0, 0.0, 0.0)"),
        ("mean = [1e300, 0, 0]", "is no preprocessing: "),
        ('interpolation = "nearest"', "is no preprocessing: Invalid enum value 'nearest' - at `$.interpolation`."),
        ('decoder = "/bin/sh"', "is no preprocessing: Invalid enum value '/bin/sh' - at `$.decoder`."),
        ("resize = 16", "is no preprocessing: resize is 16"),
        ("resize = -1", "is no preprocessing: resize is -1"),
        ("resize = 99999999", "is no preprocessing: resize is 99999999"),
        ("crop = 64", "crops to 64 pixels, and the network's images are 32x32."),
        ("colour = 1", "is no preprocessing: Object contains unknown field `colour`."),
        ("mean = [0.5, 0.5", "is no preprocessing: "),
        ("mean = 1979-05-27", "is no preprocessing: "),
        ("a = " + "[" * 5000, "is no preprocessing: "),
        ("a = " + "9" * 5000, "is no preprocessing: "),
        ("\ufeff\x00", "is no preprocessing: "),
        ("#" * 70_000, "cannot be read: it has 70,000 bytes; the limit is 65,536."),
    ],
    ids=lambda value: value[:24],
)
def test_a_hostile_file_is_refused_in_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        find_preprocessing(str(path), 32, 32)
    assert str(caught.value).startswith(f"{path} {sentence}") and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("imagnet", "There is no preprocessing 'imagnet'. Did you mean imagenet? Known: imagenet, timm, FILE.toml."),
        ("my.json", "There is no preprocessing 'my.json'. Known: imagenet, timm, FILE.toml."),
        ("missing.toml", "missing.toml cannot be read: No such file or directory."),
    ],
)
def test_an_unknown_name_is_refused(choice, sentence):
    with pytest.raises(UsageError) as caught:
        find_preprocessing(choice, 32, 32)
    assert str(caught.value) == sentence


def test_own_weights_take_it_with_the_epsilon_and_published_ones_do_not(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(WHOLE)
    mine = Checkpoint("file", tmp_path / "my.pth", "my.pth", format="torchvision")
    found = with_preprocessing(mine, str(path), 32)
    assert found.publisher.epsilon == 1e-3 and found.preprocessing(32) == find_preprocessing(str(path), 32, 32)
    assert with_preprocessing(mine, "timm", 32).publisher.epsilon == PUBLISHERS["torchvision"].epsilon
    assert with_preprocessing(mine, None, 32) is mine
    with pytest.raises(
        UsageError, match=r"^--preprocessing is for your own weights and files; weights of paddle have their own\.$"
    ):
        with_preprocessing(Checkpoint("paddle"), "timm", 32)
    path.write_text("epsilon = 2.0")
    with pytest.raises(UsageError, match=r"epsilon is 2\.0: that cannot be"):
        with_preprocessing(mine, str(path), 32)
