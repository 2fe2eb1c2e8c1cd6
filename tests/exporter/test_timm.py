"""timm's families through the direct exporter, and some through PyTorch's: both give float64 PyTorch's logits.

`--trials full` runs all of them through PyTorch's exporter, too; benchmarks/timm_coverage.py runs all of timm.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import ExportError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.exporter import fx_to_onnx, plan, torch_export
from trtzoo.exporter.plan import export
from trtzoo.models.seeded import seed
from trtzoo.models.sources import Checkpoint, locate, usual
from trtzoo.models.table import build_network, find_model

# One small architecture of each family, and the size of its images, None for timm's.
FAMILIES: dict[str, int | None] = {
    "test_resnet": 64,
    "test_vit": None,
    "test_convnext": 64,
    "test_nfnet": 64,
    "test_efficientnet": 64,
    "test_efficientnet_gn": 64,
    "test_byobnet": 64,
    "test_mambaout": 64,
    "resnet10t": 64,
    "resnext26ts": 64,
    "seresnext26ts": 64,
    "eca_resnext26ts": 64,
    "regnetx_002": 64,
    "regnety_002": 64,
    "efficientnet_lite0": 64,
    "tf_efficientnet_b0": 64,
    "mobilenetv2_035": 64,
    "mobilenetv3_small_050": 64,
    "mobilenetv4_conv_small_035": 64,
    "mobileone_s0": 64,
    "mnasnet_small": 64,
    "lcnet_035": 64,
    "tinynet_e": 64,
    "ghostnet_050": 64,
    "repghostnet_050": 64,
    "starnet_s050": 64,
    "dla46_c": 64,
    "convnextv2_atto": 64,
    "inception_next_atto": 64,
    "edgenext_xx_small": 64,
    "rexnet_100": 64,
    "cs3darknet_focus_s": 64,
    "ese_vovnet19b_slim_dw": 64,
    "hgnetv2_b0": 64,
    "densenet121": 64,
    "fastvit_t8": 64,
    "mobilevit_xxs": 64,
    "efficientvit_b0": 64,
    "pvt_v2_b0": 64,
    "levit_128s": None,
    "xcit_nano_12_p16_224": None,
}
BY_PYTORCH = ("test_resnet", "test_vit")  # 10 s each


@cache
def network_of(name: str, size: int) -> nn.Module:
    model = find_model(f"timm:{name}")
    return seed(build_network(model, classes=10, size=size), size=size, blocks=True)


def order_of(name: str, **options: Any) -> ExportOrder:
    size = FAMILIES[name] or usual(find_model(f"timm:{name}"))[0]
    return ExportOrder(**{"model": name, "precision": "fp32", "classes": 10, "size": size} | options)


def checked(translate: Any, name: str, path: Path, **options: Any) -> float:
    """Export one architecture, and compare its logits, of a batch of three, with float64 PyTorch's. The error."""
    order = order_of(name, **options)
    network = network_of(name, order.size)
    translate(network, order).write(path)
    images = golden.images(order.size)[:3]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"images": images.astype(np.float16 if order.io == "fp16" else np.float32)})[0]
    tolerance = PRECISIONS[order.precision].tolerance
    return golden.check_logits(logits, fx_to_onnx.reference_logits(network, images), tolerance=tolerance).error


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_exported_directly_and_gives_float64s_logits(name: str, tmp_path: Path) -> None:
    checked(fx_to_onnx.translate, name, tmp_path / "n.onnx")
    network_of.cache_clear()


@pytest.mark.parametrize("name", FAMILIES)
def test_pytorchs_exporter_gives_them_too(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name not in BY_PYTORCH and request.config.getoption("--trials") != "full":
        pytest.skip("exporting this family through dynamo takes 10 s; --trials full runs it")
    checked(torch_export.translate, name, tmp_path / "n.onnx")
    model = onnx.load(tmp_path / "n.onnx")
    assert not any(node.op_type == "BatchNormalization" and node.input[0].startswith("conv") for node in model.graph.node)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    network_of.cache_clear()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_nfnet", "mobilenetv3_small_050"])
def test_fp16_is_typed_throughout_and_close(name: str, tmp_path: Path) -> None:
    assert checked(fx_to_onnx.translate, name, tmp_path / "n.onnx", precision="fp16", io="fp16") > 1e-6
    model = onnx.load(tmp_path / "n.onnx")
    assert {tensor.data_type for tensor in model.graph.initializer} <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    network_of.cache_clear()


def test_pytorchs_way_has_the_orders_types_and_batch(tmp_path: Path) -> None:
    assert checked(torch_export.translate, "test_byobnet", tmp_path / "n.onnx", precision="fp16", batch=3) > 1e-6
    model = onnx.load(tmp_path / "n.onnx")
    (images,), (logits,) = model.graph.input, model.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    assert [side.dim_value for side in images.type.tensor_type.shape.dim] == [3, 3, 64, 64]
    assert {tensor.data_type for tensor in model.graph.initializer} <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [node.op_type for node in model.graph.node].count("Cast") == 2


def made(folder: Path, name: str, checkpoint: Checkpoint | None = None, **options: Any) -> Any:
    model = find_model(f"timm:{name}")
    orders = [order_of(name, **options)]
    (done,) = export(model, checkpoint or locate(model, "seeded"), orders, folder)
    return done


def test_a_sidecar_says_which_network_and_exporter_and_counts(tmp_path: Path) -> None:
    done = made(tmp_path, "test_resnet")
    assert (done.error, done.path.name) == ("", "test_resnet-fp32-c10-s64.onnx")
    sidecar = done.sidecar
    assert (sidecar.model, sidecar.network, sidecar.exporter) == ("test_resnet", "timm:test_resnet", "direct")
    assert sidecar.params == sum(
        each.numel() for each in build_network(find_model("timm:test_resnet"), classes=10).parameters()
    )
    assert sidecar.macs > 1_000_000
    assert {"timm", "onnxscript"} < sidecar.versions.keys()
    assert sidecar.weights.preprocessing.crop == 64
    assert made(tmp_path, "test_resnet").up_to_date


def test_an_operation_without_a_row_goes_pytorchs_way_which_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {packet: row for packet, row in fx_to_onnx.OPERATIONS.items() if packet.__name__ != "conv2d"}
    monkeypatch.setattr(fx_to_onnx, "OPERATIONS", rows)
    done = made(tmp_path, "test_resnet")
    assert (done.error, done.sidecar.exporter, done.sidecar.opset) == ("", "torch.onnx", 18)
    assert done.sidecar.macs > 1_000_000


def test_a_network_that_neither_way_exports_is_refused_with_both_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fx_to_onnx, "OPERATIONS", {})

    class Moody(nn.Module):
        def forward(self, images: Any) -> Any:
            return images if images.sum() > 0 else images.flatten(1)

    with pytest.raises(ExportError, match=r"^moody: PyTorch's exporter fails, too: "):
        plan.translate(Moody().eval(), order_of("test_resnet", model="moody"), find_model("timm:test_resnet"))


def test_the_bytes_of_a_file_do_not_depend_on_what_was_exported_before(tmp_path: Path) -> None:
    first = made(tmp_path / "a", "test_vit")
    assert first.error == ""
    made(tmp_path / "b", "test_convnext")
    again = made(tmp_path / "b", "test_vit")
    assert first.sidecar.sha256 == again.sidecar.sha256
    session = onnxruntime.InferenceSession(again.path, providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {"images": golden.images(again.sidecar.size)[:1]})[0]).all()
