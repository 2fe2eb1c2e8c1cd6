"""Stage 1 from end to end: files are verified, complete or absent, and not made twice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from msgspec.structs import replace

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar
from trtzoo.core.errors import MachineError
from trtzoo.core.files import read_sidecar, sha256_file, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.exporter import plan
from trtzoo.exporter.plan import CODE, ExportResult, export
from trtzoo.models.seeded import seed
from trtzoo.models.sources import Checkpoint, locate
from trtzoo.models.table import MODELS, build_network
from trtzoo.runtimes.onnxruntime import Session

SEEDED = Checkpoint("seeded", origin="seeded")
SMALL = ExportOrder(model="dpn68", precision="fp32", size=32, classes=10)


def made(folder: Path, *orders: ExportOrder, checkpoint: Checkpoint = SEEDED, force: bool = False) -> list[ExportResult]:
    return list(export(MODELS[orders[0].model], checkpoint, list(orders), folder, force=force))


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


def runs(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    return session.run(None, {value.name: images.astype(np.float16 if "16" in value.type else np.float32)})[0]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_exported_in_fp16_finite_and_close_to_float64(name: str, tmp_path: Path) -> None:
    (done,) = made(tmp_path, ExportOrder(model=name, precision="fp16"))
    assert done.error == "" and done.sidecar is not None
    assert 1e-5 < done.sidecar.check.error < PRECISIONS["fp16"].tolerance
    assert visible(tmp_path) == [f"{name}-fp16.json", f"{name}-fp16.npz", f"{name}-fp16.onnx"]
    for path in tmp_path.glob("*.onnx"):
        path.unlink()


def test_a_sidecar_records_what_made_the_file_and_its_check(tmp_path: Path) -> None:
    (done,) = made(tmp_path, SMALL)
    assert done.path == tmp_path / "dpn68-fp32-c10-s32.onnx" and not done.up_to_date
    sidecar = read_sidecar(done.path, OnnxSidecar, remedy="")
    assert sidecar == done.sidecar
    found = json.loads(sidecar_path(done.path).read_text())
    assert set(found["versions"]) == {"trtzoo", "torch", "onnx", "numpy", "onnxruntime"}
    assert found["sha256"] == sha256_file(done.path) and found["bytes"] == done.path.stat().st_size
    assert found["golden_sha256"] == sha256_file(tmp_path / found["golden"])
    assert re.fullmatch(r"[0-9a-f]{64}", found["weights"]["sha256"]) and re.fullmatch(r"[0-9a-f]{64}", found["inputs_sha256"])
    assert {key: found[key] for key in ("schema", "kind", "model", "precision", "io", "batch", "opset", "classes", "size")} == {
        "schema": 1,
        "kind": "onnx",
        "model": "dpn68",
        "precision": "fp32",
        "io": "fp32",
        "batch": "dynamic",
        "opset": 17,
        "classes": 10,
        "size": 32,
    }
    assert found["weights"] | {"sha256": ""} == {
        "source": "seeded",
        "origin": "seeded",
        "sha256": "",
        "entry": "",
        "epsilon": 1e-5,
        "preprocessing": {
            "decoder": "opencv",
            "interpolation": "bilinear",
            "resize": 37,
            "crop": 32,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "fallback": "",
    }


def test_the_golden_sample_is_the_networks_own_float64(tmp_path: Path) -> None:
    (done,) = made(tmp_path, SMALL)
    sample = golden.load(done.path.with_suffix(".npz"))
    network = seed(build_network(MODELS["dpn68"], classes=10, device="meta")).double()
    with torch.inference_mode():
        reference = network(torch.from_numpy(sample.images).double()).numpy()
    assert np.abs(sample.logits - reference).max() <= 1e-12 * np.abs(reference).max()
    check = golden.check_logits(runs(done.path, sample.images), sample.logits, tolerance=2e-5)
    assert done.sidecar is not None and check.error == pytest.approx(done.sidecar.check.error, rel=0.5)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "dpn68-fp32-c10-s32.onnx"),
        ({"batch": 2}, "dpn68-fp32-b2-c10-s32.onnx"),
        ({"precision": "fp16"}, "dpn68-fp16-c10-s32.onnx"),
        ({"precision": "fp16", "io": "fp16"}, "dpn68-fp16-io16-c10-s32.onnx"),
        ({"opset": 13}, "dpn68-fp32-opset13-c10-s32.onnx"),
        ({"opset": 25}, "dpn68-fp32-opset25-c10-s32.onnx"),
        ({"batch": 5, "precision": "fp16", "io": "fp16", "opset": 19}, "dpn68-fp16-b5-io16-opset19-c10-s32.onnx"),
    ],
)
def test_a_file_has_its_orders_settings_and_names_them(changes: dict[str, Any], name: str, tmp_path: Path) -> None:
    order = ExportOrder(**{"model": "dpn68", "precision": "fp32", "size": 32, "classes": 10} | changes)
    (done,) = made(tmp_path, order)
    assert (done.path.name, done.error) == (name, "")
    model = onnx.load(done.path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == order.opset
    batch = 4 if order.batch == "dynamic" else order.batch
    images, reference = golden.load(done.path.with_suffix(".npz")).batch(batch)
    golden.check_logits(runs(done.path, images), reference, tolerance=PRECISIONS[order.precision].tolerance)


def test_a_file_that_is_up_to_date_is_not_exported_again(tmp_path: Path) -> None:
    (first,) = made(tmp_path, SMALL)
    stamp = first.path.stat().st_mtime_ns
    (second,) = made(tmp_path, SMALL)
    assert second.up_to_date and second.sidecar == first.sidecar and first.path.stat().st_mtime_ns == stamp
    (third,) = made(tmp_path, SMALL, force=True)
    assert not third.up_to_date and first.path.stat().st_mtime_ns > stamp
    assert third.sidecar == first.sidecar


@pytest.mark.parametrize("damage", ["graph cut", "graph gone", "sidecar gone", "sidecar cut", "sample changed", "sample gone"])
def test_a_damaged_file_is_exported_again(damage: str, tmp_path: Path) -> None:
    (first,) = made(tmp_path, SMALL)
    file, change = damage.split()
    path = first.path.with_suffix({"graph": ".onnx", "sidecar": ".json", "sample": ".npz"}[file])
    whole = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-9] if change == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    (again,) = made(tmp_path, SMALL)
    assert not again.up_to_date and again.error == ""
    assert path.read_bytes() == whole


@pytest.fixture
def own(tmp_path: Path) -> Checkpoint:
    """A checkpoint of the user's own."""
    torch.save(seed(build_network(MODELS["dpn68"], classes=10)).state_dict(), tmp_path / "w.pth")
    return locate(MODELS["dpn68"], str(tmp_path / "w.pth"))


STAND_IN = Checkpoint("seeded", origin="seeded", fallback="No network.")


def test_an_export_with_other_weights_is_replaced_only_by_force(tmp_path: Path, own: Checkpoint) -> None:
    (first,) = made(tmp_path, SMALL)
    (refused,) = made(tmp_path, SMALL, checkpoint=own)
    assert refused.error == (
        "it has weights of seeded, and weights of w.pth would replace it. Keep both: --name OTHER. Replace it: --force"
    )
    assert read_sidecar(first.path, OnnxSidecar, remedy="") == first.sidecar
    (other,) = made(tmp_path, SMALL, checkpoint=own, force=True)
    assert other.sidecar is not None and (other.sidecar.weights.source, other.sidecar.weights.origin) == ("file", "w.pth")


def test_seeded_weights_that_stand_in_for_others_do_not_replace_real_ones(tmp_path: Path, own: Checkpoint) -> None:
    (first,) = made(tmp_path, SMALL, checkpoint=own)
    (kept,) = made(tmp_path, SMALL, checkpoint=STAND_IN)
    assert not kept.error and kept.sidecar == first.sidecar
    assert kept.note == "kept, with weights of w.pth: the published ones cannot be downloaded now"


def test_real_weights_replace_seeded_ones_that_stood_in_for_them(tmp_path: Path, own: Checkpoint) -> None:
    (first,) = made(tmp_path, SMALL, checkpoint=STAND_IN)
    assert first.sidecar is not None and first.sidecar.weights.fallback == "No network."
    (real,) = made(tmp_path, SMALL, checkpoint=own)
    assert real.sidecar is not None and real.sidecar.weights.source == "file"
    assert real.note == "replaces seeded weights by those of w.pth"


def test_another_name_keeps_both_exports_and_says_which_network_it_is(tmp_path: Path, own: Checkpoint) -> None:
    (first,) = made(tmp_path, SMALL)
    (second,) = made(tmp_path, replace(SMALL, name="mine"), checkpoint=own)
    assert [first.path.name, second.path.name] == ["dpn68-fp32-c10-s32.onnx", "mine-fp32-c10-s32.onnx"]
    assert second.sidecar is not None
    assert (second.sidecar.identity.model, second.sidecar.identity.network) == ("mine", "dpn68")


EXPORT = """
import sys
from pathlib import Path
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.exporter.plan import export
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import MODELS
order = ExportOrder(model="dpn68", precision="fp32", size=32, classes=10)
(done,) = export(MODELS["dpn68"], Checkpoint("seeded", origin="seeded"), [order], Path(sys.argv[1]))
assert not done.error, done.error
print(*(name for name in sys.modules if name.startswith("trtzoo.")))
"""


def test_every_module_of_ours_that_decides_the_bytes_is_hashed(tmp_path: Path) -> None:
    """A change of code makes exports out of date: CODE contains every module of ours that an export imports."""
    done = subprocess.run([sys.executable, "-c", EXPORT, tmp_path], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "trtzoo.exporter.onnx_writer" in loaded
    hashed = {f"trtzoo.{name.removesuffix('.py').replace('/', '.')}" for name in CODE}
    runtimes = {f"trtzoo.runtimes{name}" for name in ("", ".registry", ".onnxruntime", ".host_timed")}
    nouns = {
        f"trtzoo.{name}"
        for name in (
            "core",
            "core.archives",
            "core.arrays",
            "core.console",
            "core.decoding",
            "core.system",
            "core.errors",
            "core.records",
            "core.modules",
            "core.files",
            "core.subprocesses",
            "artifacts",
        )
    }
    decides_nothing = {
        "trtzoo.artifacts.graphs",
        "trtzoo.artifacts.engines",
        "trtzoo.artifacts.rounding",
        "trtzoo.hardware",
        "trtzoo.images",
        "trtzoo.images.dataset",
        "trtzoo.images.devkit",
        "trtzoo.hardware.gpus",
        "trtzoo.hardware.onnx_providers",
        *runtimes,
        *nouns,
    }
    free = {name for name in loaded if not any(name == row or name.startswith(f"{row}.") for row in hashed)}
    assert free <= decides_nothing


@pytest.mark.parametrize(
    "name",
    ["models/zoo.toml", "models/publishers.toml", "models/densenet.py", "core/precisions.toml", "artifacts/golden.py"],
)
def test_a_change_of_code_or_of_a_table_makes_files_out_of_date(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(Path(plan.__file__).parent.parent, tmp_path / "trtzoo", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(plan, "__file__", str(tmp_path / "trtzoo" / "exporter" / "plan.py"))
    before = plan.inputs_sha256(SMALL, Checkpoint("seeded"), MODELS["dpn68"])
    with (tmp_path / "trtzoo" / name).open("a") as file:
        file.write("# changed")
    assert plan.inputs_sha256(SMALL, Checkpoint("seeded"), MODELS["dpn68"]) != before


def test_a_failed_order_stops_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """Weights of 1e6 overflow FP16 but not FP32."""
    network = seed(build_network(MODELS["dpn68"], classes=10, device="meta"))
    network.features.conv5_bn_ac.bn.weight.data[0] = 1e6  # type: ignore[union-attr]
    torch.save(network.state_dict(), tmp_path / "w.pth")
    folder = tmp_path / "onnx"
    orders = [ExportOrder(model="dpn68", precision=kind, size=32, classes=10) for kind in ("fp16", "fp32")]
    half, single = made(folder, *orders, checkpoint=locate(MODELS["dpn68"], str(tmp_path / "w.pth")))
    assert half.error == "features.conv5_bn_ac.bn.weight does not fit FP16, whose largest value is 65504."
    assert half.sidecar is None and single.error == ""
    assert visible(folder) == ["dpn68-fp32-c10-s32.json", "dpn68-fp32-c10-s32.npz", "dpn68-fp32-c10-s32.onnx"]


def test_activations_that_overflow_fp16_are_caught_by_the_golden_sample(tmp_path: Path) -> None:
    network = seed(build_network(MODELS["dpn68"], classes=10, device="meta"))
    network.features.conv5_bn_ac.bn.weight.data.fill_(1000)  # type: ignore[union-attr]
    network.classifier.weight.data.mul_(10000)  # type: ignore[union-attr,operator]
    torch.save(network.state_dict(), tmp_path / "w.pth")
    order = ExportOrder(model="dpn68", precision="fp16", size=32, classes=10)
    (done,) = made(tmp_path / "onnx", order, checkpoint=locate(MODELS["dpn68"], str(tmp_path / "w.pth")))
    assert re.fullmatch(r"\d+ of 40 logits are NaN or infinite", done.error)
    assert visible(tmp_path / "onnx") == []


def test_a_wrong_checkpoint_leaves_an_earlier_export_unchanged(tmp_path: Path) -> None:
    (first,) = made(tmp_path / "onnx", SMALL)
    (tmp_path / "w.pdparams").write_bytes(b"")
    broken = locate(MODELS["dpn68"], str(tmp_path / "w.pdparams"))
    (done,) = made(tmp_path / "onnx", SMALL, checkpoint=broken, force=True)
    assert done.error == f"{tmp_path / 'w.pdparams'} is empty."
    assert read_sidecar(first.path, OnnxSidecar, remedy="") == first.sidecar
    assert len(visible(tmp_path / "onnx")) == 3


def test_a_file_that_onnx_runtime_cannot_load_is_an_error(tmp_path: Path) -> None:
    """An older ONNX Runtime does not know a newer opset; the user gets a sentence, not a traceback."""
    (done,) = made(tmp_path, SMALL)
    model = onnx.load(done.path)
    model.opset_import[0].version = 99
    onnx.save(model, done.path)
    with pytest.raises(MachineError, match=r"^ONNX Runtime \S+ cannot load .*dpn68-fp32-c10-s32\.onnx"):
        Session(done.path, batch=1)
