"""The weights that a value of --weights selects, and their conventions."""

from pathlib import Path

import pytest

from tests.conftest import NOWHERE
from trtzoo.core.errors import UsageError, WeightsError
from trtzoo.models.sources import PUBLISHERS, Checkpoint, locate
from trtzoo.models.table import MODELS


def test_paddle_publishes_all_ten_torchvision_four_and_timm_five() -> None:
    published = {name: set(source.files) for name, source in PUBLISHERS.items()}
    densenets = {name for name in MODELS if name.startswith("densenet")}
    assert published == {
        "paddle": set(MODELS),
        "torchvision": densenets - {"densenet264"},
        "timm": set(MODELS) - densenets,
    }


@pytest.mark.parametrize(
    ("source", "model", "url"),
    [
        ("paddle", "densenet264", "paddle-imagenet-models-name.bj.bcebos.com/dygraph/DenseNet264_pretrained.pdparams"),
        ("paddle", "dpn131", "paddle-imagenet-models-name.bj.bcebos.com/dygraph/DPN131_pretrained.pdparams"),
        ("torchvision", "densenet121", "download.pytorch.org/models/densenet121-a639ec97.pth"),
    ],
)
def test_the_url_of_a_file_is_the_publishers(source: str, model: str, url: str) -> None:
    row = PUBLISHERS[source]
    assert row.base + row.files[model][0] == f"https://{url}"


def test_each_source_has_its_own_conventions() -> None:
    found = {
        name: (row.epsilon, row.preprocessing.decoder, row.preprocessing.interpolation, row.preprocessing.resize)
        for name, row in PUBLISHERS.items()
    }
    assert found == {
        "paddle": (1e-5, "opencv", "bilinear", 256),
        "torchvision": (1e-5, "pil", "bilinear", 256),
        "timm": (1e-3, "pil", "bicubic", 256),
    }
    timm = PUBLISHERS["timm"].preprocessing
    assert [round(value * 255) for value in timm.mean] == [124, 117, 104]
    assert [round(1 / value / 255, 4) for value in timm.std] == [0.0167] * 3


def test_a_hash_in_a_file_name_is_the_one_that_is_checked() -> None:
    for row in (PUBLISHERS["torchvision"], PUBLISHERS["timm"]):
        for file, digits in row.files.values():
            assert digits and file.removesuffix(".pth").endswith(digits)


def test_seeded_weights_need_no_file() -> None:
    assert locate(MODELS["dpn68"], "seeded") == Checkpoint("seeded", origin="seeded")


def test_the_default_without_a_connection_is_seeded_and_records_why() -> None:
    found = locate(MODELS["dpn68"], None)
    assert found == Checkpoint("seeded", origin="seeded", fallback=f"{NOWHERE[7:]} cannot be reached (ConnectionError).")
    assert found.publisher is PUBLISHERS["paddle"]


@pytest.mark.parametrize("source", ["paddle", "torchvision", "timm"])
def test_a_named_source_without_a_connection_is_an_error(source: str) -> None:
    model = MODELS["densenet121" if source == "torchvision" else "dpn68"]
    with pytest.raises(WeightsError, match="cannot be reached"):
        locate(model, source)


@pytest.mark.parametrize(
    ("model", "choice", "sentence"),
    [
        ("dpn68", "torchvision", "torchvision publishes no weights of dpn68; it has densenet121, densenet161, "),
        ("densenet264", "torchvision", "torchvision publishes no weights of densenet264; it has densenet121, "),
        ("densenet121", "timm", "timm publishes no weights of densenet121; it has dpn68, "),
        ("dpn68", "padle", "There is no weights source or checkpoint file 'padle'. Did you mean paddle? Known: paddle, "),
        ("dpn68", "", "There is no weights source or checkpoint file ''. Known: paddle, torchvision, timm, seeded, "),
        ("dpn68", "weights.onnx", "There is no weights source or checkpoint file 'weights.onnx'."),
    ],
)
def test_an_unknown_choice_is_a_usage_error(model: str, choice: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        locate(MODELS[model], choice)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("kind", ["missing", "a folder"])
def test_a_missing_file_is_an_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    if kind == "a folder":
        path.mkdir()
    with pytest.raises(WeightsError) as caught:
        locate(MODELS["dpn68"], str(path))
    assert str(caught.value) == f"{path} is not a file."


@pytest.mark.parametrize(
    ("file", "model", "source"),
    [
        ("w.pdparams", "densenet121", "paddle"),
        ("w.pdparams", "dpn68", "paddle"),
        ("w.pth", "densenet121", "torchvision"),
        ("w.pt", "dpn68", "timm"),
        ("w.safetensors", "dpn68", "timm"),
    ],
)
def test_a_local_file_has_the_publisher_of_its_format(file: str, model: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.touch()
    own = locate(MODELS[model], str(path))
    assert own == Checkpoint("file", path, file, format=source) and own.publisher is PUBLISHERS[source]


@pytest.mark.parametrize(
    ("origin", "size", "resize"),
    [
        ("my.pth", 224, 256),  # as its publisher evaluates it
        ("my.pth", 32, 32),  # trained at this size: whole images
        ("https://example.org/published.pth", 224, 256),
        ("https://example.org/published.pth", 288, 329),  # the same fraction is cropped
    ],
)
def test_preprocessing_is_for_the_size_that_was_exported(origin, size, resize):
    checkpoint = Checkpoint("torchvision", Path("my.pth"), origin)
    found = checkpoint.preprocessing(size)
    assert (found.resize, found.crop, found.mean) == (resize, size, checkpoint.publisher.preprocessing.mean)
