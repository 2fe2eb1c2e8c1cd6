"""Opening an ONNX file or engine with its golden sample."""

import numpy as np
import pytest

from tests.artifacts.sidecars import make_sidecar
from trtzoo.artifacts.engines import TensorSpec
from trtzoo.artifacts.golden import IMAGES, Golden, images
from trtzoo.artifacts.subjects import open_subject
from trtzoo.core.errors import StoreError
from trtzoo.core.files import encode, sha256_file, sidecar_path

SPECS = {
    "inputs": (TensorSpec(name="images", dtype="HALF", shape=(2, 3, 32, 32)),),
    "outputs": (TensorSpec(name="logits", dtype="HALF", shape=(2, 7)),),
}


@pytest.fixture
def engine(tmp_path):
    """An engine with its golden sample, g.npz."""
    path = tmp_path / "dpn68-fp16-b2.engine"
    golden = tmp_path / "g.npz"
    Golden(images(32), np.zeros((IMAGES, 7))).save(golden)
    sidecar = make_sidecar(model="dpn68", batch=2, golden="g.npz", golden_sha256=sha256_file(golden), **SPECS)
    sidecar_path(path).write_bytes(encode(sidecar))
    return path


def refusal(path):
    with pytest.raises(StoreError) as error:
        open_subject(path, remedy="trtzoo export")
    return str(error.value)


def test_an_engine_is_described_by_its_sidecar(engine):
    subject = open_subject(engine, remedy="")
    sidecar = subject.sidecar
    assert (sidecar.model, sidecar.precision, sidecar.batch) == ("dpn68", "fp16", 2)
    assert (sidecar.size, sidecar.classes, sidecar.io) == (32, 7, "fp16")
    assert subject.golden.images.shape == (IMAGES, 3, 32, 32)


@pytest.mark.parametrize("kind", ["missing", "changed"])
def test_another_golden_sample_is_an_error(engine, kind):
    golden = engine.with_name("g.npz")
    golden.unlink() if kind == "missing" else golden.write_bytes(b"changed")
    assert refusal(engine) == (
        f"The golden sample of {engine} (g.npz) is missing or belongs to another file. Copy it here, or export and build again."
    )


def test_an_engine_of_an_onnx_file_without_a_golden_sample_is_an_error(engine):
    sidecar_path(engine).write_bytes(encode(make_sidecar(**SPECS)))
    assert refusal(engine).startswith(f"The golden sample of {engine} (it has none) is missing")


def test_a_missing_engine_names_the_command_that_builds_it(tmp_path):
    path = tmp_path / "dpn68-fp16-b2.engine"
    assert refusal(path) == (f"There is no {path} with a readable sidecar. Run: trtzoo build dpn68 --precision fp16 --batch 2")


def test_a_missing_onnx_file_names_the_command_that_exports_it(tmp_path):
    assert refusal(tmp_path / "a.onnx") == f"{tmp_path / 'a.onnx'} is missing. Run: trtzoo export"
