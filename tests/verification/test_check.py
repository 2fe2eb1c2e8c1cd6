"""A candidate and its reference on the same images, each in its own process."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from tests.benchmark.fakes import DEVICE
from tests.photographs import read_image
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.artifacts.subjects import Candidate
from trtzoo.core.errors import DataError, ImageError
from trtzoo.core.records import Identity
from trtzoo.exporter.plan import export
from trtzoo.images.dataset import DataSet, Photograph
from trtzoo.models.seeded import seed
from trtzoo.models.sources import Checkpoint, locate
from trtzoo.models.table import build_network, find_model
from trtzoo.runtimes.pytorch import Session
from trtzoo.verification.check import parity
from trtzoo.verification.tolerances import ParityVerdict, parity_limit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """dpn68 of ten classes at 32x32, FP32 and FP16, from a checkpoint with seeded weights."""
    folder = tmp_path_factory.mktemp("onnx")
    model, checkpoint = find_model("dpn68"), folder / "mine.pth"
    torch.save(seed(build_network(model, classes=10, epsilon=1e-3, device="meta")).state_dict(), checkpoint)
    orders = [ExportOrder(model="dpn68", precision=kind, classes=10, size=32) for kind in ("fp32", "fp16")]
    assert not any(done.error for done in export(model, locate(model, str(checkpoint)), orders, folder))
    return folder


@pytest.fixture
def photographs(tmp_path):
    """Four noisy photographs and a text file, the third."""
    random, paths = np.random.default_rng(0), []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        blocks = random.integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(blocks).resize((40, 36), Image.Resampling.NEAREST).save(paths[-1])
    paths[2].write_text("not a picture")
    return DataSet(folder=tmp_path, photographs=tuple(map(Photograph, paths)))


IDENTITY = Identity(model="dpn68", network="dpn68")


def candidate(folder, precision="fp32", batch=1, runtime="onnxruntime"):
    path = folder / f"dpn68-{precision}-c10-s32.onnx"
    return Candidate(artifact=str(path), precision=precision, batch=batch, runtime=runtime, device=DEVICE)


def compared(todo, images):
    named = [(IDENTITY, each) for each in todo]
    return list(parity(named, lambda classes: images, onnx=Path("onnx"), on_progress=lambda who, done: None))


def test_each_precision_is_judged_by_its_own_limits_at_each_batch(folder):
    todo = [candidate(folder, kind, batch) for kind in ("fp32", "fp16") for batch in (1, 4)]
    found = compared(todo, DataSet(synthetic=6))
    assert [(row.precision, row.batch, row.reasons) for row in found] == [(row.precision, row.batch, ()) for row in todo]
    assert all(row.metrics.images == 6 and row.metrics.labelled is None for row in found)
    single, half = found[0].metrics.error, found[2].metrics.error
    assert 0 < single < parity_limit("fp32", "onnxruntime") < half < parity_limit("fp16", "onnxruntime")


def test_fp16_in_place_of_fp32_fails(folder, tmp_path):
    for suffix in (".onnx", ".npz", ".json"):
        shutil.copy(folder / f"dpn68-fp16-c10-s32{suffix}", tmp_path / f"dpn68-fp32-c10-s32{suffix}")
    sidecar = tmp_path / "dpn68-fp32-c10-s32.json"
    sidecar.write_text(sidecar.read_text().replace("dpn68-fp16-c10-s32.npz", "dpn68-fp32-c10-s32.npz"))
    (row,) = compared([candidate(tmp_path)], DataSet(synthetic=4))
    assert row.metrics is not None and row.reasons[0].startswith("a logit differs by ")
    assert row.reasons[0].endswith(" of max|logit| (limit for fp32: 4e-05)")


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        ("kill", "the process was killed, most likely because the machine ran out of memory"),
        ("crash", "the process ended with status 66: it printed nothing"),
        ("error", "the script says: error"),
        ("nan", "40 of 40 logits are NaN or infinite"),
        ("zeros", "all logits are 0"),
    ],
)
def test_a_candidate_that_dies_or_computes_nothing_fails_alone(folder, tmp_path, fail, sentence):
    for path in folder.glob("dpn68-fp32*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "dpn68-fp32-c10-s32.script.json").write_text(f'{{"fail": "{fail}"}}')
    first, second = compared([candidate(tmp_path, runtime="fake"), candidate(tmp_path)], DataSet(synthetic=4))
    assert first.reasons == (sentence,) and first.metrics is None
    assert second.reasons == ()


def test_an_unreadable_photograph_is_named_once_and_excluded_everywhere(folder, photographs):
    bad, *rows = compared([candidate(folder, batch=4), candidate(folder, "fp16", batch=3)], photographs)
    assert isinstance(bad, ImageError) and str(bad).startswith("2.png cannot be read: it is not a JPEG, PNG")
    assert [row.metrics.images for row in rows] == [4, 4]
    assert all(row.worst in ("0.png", "1.png", "3.png", "4.png") for row in rows)


def test_labels_stay_with_their_photographs_when_one_is_excluded(folder, photographs):
    paths = [image.path for image in photographs.photographs]
    reference = [run_alone(folder, path) for number, path in enumerate(paths) if number != 2]
    labels = (*reference[:2], -1, *reference[2:])
    labelled = tuple(Photograph(path, label) for path, label in zip(paths, labels, strict=True))
    _, row = compared([candidate(folder)], DataSet(folder=photographs.folder, photographs=labelled))
    assert row.metrics.labelled.reference == row.metrics.labelled.engine == 4


def run_alone(folder, path):
    """The class of one photograph, by PyTorch."""
    onnx = folder / "dpn68-fp32-c10-s32.onnx"
    how = locate(find_model("dpn68"), str(folder / "mine.pth")).preprocessing(32)
    return int(Session(onnx, batch=1).infer(read_image(path, how, 32)[None]).argmax())


def test_without_any_readable_photograph_the_reference_fails(folder, photographs):
    (row,) = compared([candidate(folder)], DataSet(photographs=photographs.photographs[2:3]))
    assert row.reasons == ("the reference: none of 1 images can be read",)


def test_a_missing_checkpoint_of_the_reference_is_the_reason(folder, tmp_path):
    for path in folder.glob("dpn68-fp32*"):
        shutil.copy(path, tmp_path)
    sidecar = tmp_path / "dpn68-fp32-c10-s32.json"
    sidecar.write_text(sidecar.read_text().replace("mine.pth", "gone.pth"))
    (row,) = compared([candidate(tmp_path)], DataSet(synthetic=2))
    assert "gone.pth, which does not exist, and the PyTorch runtime needs it" in row.reasons[0]


def test_a_graph_with_a_fixed_batch_is_not_compared_at_another(folder, tmp_path):
    order = ExportOrder(model="dpn68", precision="fp32", batch=2, classes=10, size=32)
    (done,) = export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), [order], tmp_path)
    at = [replace(candidate(tmp_path, batch=batch), artifact=str(done.path)) for batch in (2, 3)]
    good, bad = compared(at, DataSet(synthetic=3))
    assert isinstance(good, ParityVerdict) and good.reasons == () and good.metrics.images == 3
    assert bad.reasons == (f"{done.path} takes batches of 2 only. Run: trtzoo parity --batch 2",)


def test_an_unusable_data_set_ends_the_comparison(folder):
    def images(classes):
        raise DataError(f"no images of {classes} classes")

    with pytest.raises(DataError, match="no images of 10 classes"):
        list(parity([(IDENTITY, candidate(folder))], images, onnx=folder, on_progress=lambda who, done: None))


def test_progress_is_reported_for_the_reference_and_for_the_candidate(folder):
    progress = []
    list(
        parity(
            [(IDENTITY, candidate(folder, batch=2))],
            lambda classes: DataSet(synthetic=3),
            onnx=folder,
            on_progress=lambda who, done: progress.append((who, done)),
        )
    )
    assert progress == [("dpn68 pytorch", 3), ("dpn68 fp32 batch 2 onnxruntime", 2), ("dpn68 fp32 batch 2 onnxruntime", 3)]
