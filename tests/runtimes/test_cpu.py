"""The CPU's runtimes: the same file gives the same logits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import MachineError, StoreError
from trtzoo.core.modules import require_module, resolve
from trtzoo.core.precisions import PRECISIONS
from trtzoo.exporter.plan import export
from trtzoo.models.seeded import seed
from trtzoo.models.sources import Checkpoint, locate
from trtzoo.models.table import build_network, find_model
from trtzoo.runtimes.registry import RUNTIMES, Session

REAL = [row for row in RUNTIMES.values() if row.device == "cpu" and row.name != "fake"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    orders = [ExportOrder(model="dpn68", precision=kind, size=64) for kind in ("fp32", "fp16")]
    orders.append(ExportOrder(model="dpn68", precision="fp16", io="fp16", size=64))
    done = list(export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), orders, folder))
    assert not any(one.error for one in done)
    return {(one.order.precision, one.order.io): one.path for one in done}


@pytest.mark.parametrize("row", REAL, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", [("fp32", "fp32"), ("fp16", "fp32"), ("fp16", "fp16")], ids="-".join)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_every_runtime_gives_the_golden_logits_at_every_batch(exported, row, kind, batch):
    path: Path = exported[kind]
    images, reference = golden.load(path.with_suffix(".npz")).batch(batch)
    session: Session = resolve(row.opener)(path, batch=batch)
    try:
        logits = session.infer(images)
        assert logits.shape == (batch, 1000)
        golden.check_logits(logits, reference, tolerance=PRECISIONS[kind[0]].tolerance)
    finally:
        session.close()


@pytest.mark.parametrize("row", REAL, ids=lambda row: row.name)
def test_a_sample_is_a_positive_time_and_changes_nothing(exported, row):
    path = exported["fp32", "fp32"]
    images, _ = golden.load(path.with_suffix(".npz")).batch(2)
    session = resolve(row.opener)(path, batch=2)
    try:
        before = session.infer(images)
        samples = [session.sample() for _ in range(3)]
        assert all(sample.total >= sample.compute > 0 for sample in samples)
        np.testing.assert_array_equal(session.infer(images), before)
        assert session.threads >= 1 and all(session.versions.values())
    finally:
        session.close()


@pytest.mark.parametrize("name", ["openvino", "pytorch"])
def test_a_runtime_that_computes_fp16_in_float32_says_so(exported, name):
    for kind, settings in (("fp32", {}), ("fp16", {"arithmetic": "float32"})):
        session = resolve(RUNTIMES[name].opener)(exported[kind, "fp32"], batch=1)
        assert session.settings == settings
        session.close()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An export from a checkpoint of ten classes, named by a relative path."""
    monkeypatch.chdir(tmp_path)
    model = find_model("dpn68")
    torch.save(seed(build_network(model, classes=10, epsilon=1e-3, device="meta")).state_dict(), "mine.pth")
    (done,) = export(
        model, locate(model, "mine.pth"), [ExportOrder(model="dpn68", precision="fp32", classes=10, size=32)], tmp_path
    )
    assert done.error == ""
    return done.path


def test_the_pytorch_runtime_loads_a_users_own_checkpoint_from_any_folder(own, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    images, reference = golden.load(own.with_suffix(".npz")).batch(2)
    session = resolve(RUNTIMES["pytorch"].opener)(own, batch=2)
    golden.check_logits(session.infer(images), reference, tolerance=PRECISIONS["fp32"].tolerance)
    session.close()


@pytest.mark.parametrize(("change", "sentence"), [(Path.unlink, "does not exist"), (Path.touch, "has changed")])
def test_the_pytorch_runtime_refuses_a_missing_or_changed_checkpoint(own, tmp_path, change, sentence):
    (tmp_path / "mine.pth").write_bytes(b"another")
    change(tmp_path / "mine.pth")
    with pytest.raises(StoreError) as caught:
        resolve(RUNTIMES["pytorch"].opener)(own, batch=1)
    assert str(caught.value) == (
        f"{own} was made from {tmp_path / 'mine.pth'}, which {sentence}, and the PyTorch runtime needs it. Restore it, "
        "or run: trtzoo export dpn68 --weights FILE --force"
    )


def test_a_row_for_the_processor_names_a_module_of_the_tests_environment():
    for row in RUNTIMES.values():
        assert row.device == "gpu" or importlib.util.find_spec(row.module)


def test_a_missing_module_is_named_with_the_command_that_installs_it():
    with pytest.raises(
        MachineError, match=r"^mlperf-ss needs no_such_module, which is not installed. Run: pip install 'trtzoo\[mlperf\]'$"
    ):
        require_module("mlperf-ss", module="no_such_module", extra="mlperf")
