"""Fuzz of binary files from elsewhere: ONNX files, checkpoints, photographs, ImageNet's meta.mat."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
import torch

from tests.hostile.mutate import BYTES, CORPUS, mutate
from tests.photographs import noise
from trtzoo.api.adopting import adoption_orders, open_foreign
from trtzoo.artifacts.foreign import read_foreign
from trtzoo.core.errors import MachineError, StoreError, WeightsError
from trtzoo.core.records import Preprocessing
from trtzoo.exporter.adoption_worker import adopt
from trtzoo.images.dataset import DataSet, Photograph, read_dataset
from trtzoo.images.decoders import Decoders
from trtzoo.models import pdparams
from trtzoo.models.sources import own_checkpoint
from trtzoo.models.table import MODELS
from trtzoo.models.weights import load, read_state


def names(*suffixes: str) -> list[str]:
    return [name for name in CORPUS if name.endswith(suffixes)]


@pytest.mark.filterwarnings("ignore:Ignoring unknown external data", "ignore:invalid value encountered")
@pytest.mark.parametrize("name", names(".onnx"))
def test_a_damaged_onnx_file_is_adopted_or_refused(trials, tmp_path, name):
    path, folder = tmp_path / name, tmp_path / "onnx"
    (tmp_path / "external.data").write_bytes(np.linspace(-1, 1, 250, dtype=np.float32).tobytes())
    for trial in trials("fuzz", f"{name}: --onnx", few=30, full=1_600):
        with trial:
            path.write_bytes(mutate(name, trial.random))
            file = open_foreign(path)
            assert file.precision in ("fp32", "fp16")
            (result,) = adopt(file, adoption_orders(file, [file.precision]), folder)
            if result.error:
                raise StoreError(result.error)
            assert 0 <= result.sidecar.check.error <= result.sidecar.check.tolerance
            shutil.rmtree(folder)
        assert not list(folder.glob("*.*[!s]")), "a refused file left something"


def test_an_input_of_an_unknown_type_is_refused(tmp_path):
    path = tmp_path / "a.onnx"
    model = onnx.load_from_string(CORPUS["classifier.onnx"])
    model.graph.input[0].type.tensor_type.elem_type = 42
    path.write_bytes(model.SerializeToString())
    with pytest.raises(StoreError, match="images is of unknown type, not FLOAT or FLOAT16"):
        read_foreign(path, "0" * 64)


@pytest.mark.parametrize("name", names(".pdparams"))
def test_a_damaged_pdparams_has_arrays_of_floats_or_is_refused(trials, tmp_path, name):
    path = tmp_path / name
    for trial in trials("fuzz", f"{name}: checkpoint", few=60, full=1_000):
        with trial:
            path.write_bytes(mutate(name, trial.random))
            for key, array in pdparams.read(path).items():
                assert isinstance(key, str) and array.dtype.kind == "f" and array.nbytes < 1 << 20


@pytest.mark.parametrize("name", names(".pth", ".safetensors"))
def test_a_damaged_pytorch_file_has_tensors_or_is_refused(trials, tmp_path, name):
    path = tmp_path / name
    for trial in trials("fuzz", f"{name}: checkpoint", few=40, full=600):
        with trial:
            path.write_bytes(mutate(name, trial.random))
            for key, tensor in read_state(path).tensors.items():
                assert isinstance(key, str) and isinstance(tensor, torch.Tensor)


@pytest.mark.parametrize("name", names(".pdparams", ".pth", ".safetensors"))
def test_a_small_damaged_file_is_no_checkpoint_of_a_model(trials, tmp_path, name):
    path = tmp_path / name
    for trial in trials("fuzz", f"{name}: --weights", few=1, full=100):
        with trial:
            path.write_bytes(mutate(name, trial.random))
            with pytest.raises(WeightsError, match=name):
                load(MODELS["dpn68"], own_checkpoint(MODELS["dpn68"], path))


@pytest.fixture(scope="module")
def decoder():
    with Decoders(1) as one:
        yield one


@pytest.mark.parametrize("name", names(".png", ".jpg", ".bmp", ".webp"))
def test_a_damaged_photograph_has_pixels_or_a_reason(trials, tmp_path, decoder, name):
    data = DataSet(folder=tmp_path, photographs=(Photograph(tmp_path / name, 0),))
    (worker,) = decoder.processes
    for trial in trials("fuzz", f"{name}: photograph", few=20, full=300):
        with trial:
            data.photographs[0].path.write_bytes(mutate(name, trial.random))
            kind = trial.random.choice(["opencv", "pil"])
            how = Preprocessing(decoder=kind, interpolation="bilinear", resize=10, crop=8, mean=(0.0,) * 3, std=(1.0,) * 3)
            try:
                (image,) = decoder.stream(data, [0], how, 8)
            except MachineError as error:
                raise AssertionError("the decoding process died") from error
            assert decoder.processes == [worker]
            assert image.reason if image.pixels is None else (image.pixels.shape, image.pixels.dtype) == ((8, 8, 3), np.uint8)


def test_a_damaged_meta_mat_names_classes_or_is_refused(trials, tmp_path):
    folder = tmp_path / "data"
    for number in (1, 2):
        noise(folder / f"ILSVRC2012_val_{number}.png", seed=number)
    truth = tmp_path / "devkit" / "ILSVRC2012_validation_ground_truth.txt"
    truth.parent.mkdir()
    truth.write_text("1\n2\n")
    for trial in trials("fuzz", "meta.mat: ground truth", few=3, full=400):
        with trial:
            truth.with_name("meta.mat").write_bytes(mutate("meta.mat", trial.random))
            found = read_dataset(folder, classes=2, labels=truth)
            assert sorted(image.label for image in found.photographs) == [0, 1]


def test_every_way_to_damage_bytes_changes_a_file(trials):
    for trial in trials("fuzz", "the mutators", few=5, full=5):
        with trial:
            damage, data = BYTES[trial.index % len(BYTES)], CORPUS["colour.png"]
            assert any(damage(data, trial.random) != data for _ in range(20))
