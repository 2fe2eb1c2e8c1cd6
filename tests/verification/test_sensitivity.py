"""Which blocks of a quantized graph add the error."""

from contextlib import nullcontext

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import Calibration, ExportOrder
from trtzoo.core.errors import RunError
from trtzoo.exporter.plan import export
from trtzoo.images.dataset import DataSet
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import find_model
from trtzoo.report.tables.parity import layer_sentence, layer_table
from trtzoo.verification.sensitivity import block_errors, fewest_kept

IMAGES = golden.images(32)[:2]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Seeded dpn68 in FP32 and INT8."""
    folder, source = tmp_path_factory.mktemp("onnx"), Calibration(data="synthetic", fingerprint="", images=4, method="minmax")
    orders = [
        ExportOrder(model="dpn68", precision="fp32", classes=10, size=32),
        ExportOrder(model="dpn68", precision="int8", classes=10, size=32, calibration=source),
    ]
    seeded = Checkpoint("seeded", origin="seeded")
    done = list(export(find_model("dpn68"), seeded, orders, folder, calibration=DataSet(synthetic=4)))
    assert not any(one.error for one in done)
    return [one.path for one in done]


def test_every_block_adds_a_share_and_the_largest_is_first(graphs):
    found = block_errors(*graphs, IMAGES, least_cosine=0.9)
    assert {f"conv{stage}_{index}" for stage in (2, 5) for index in (1, 2, 3)} <= {row.block for row in found}
    assert [row.error for row in found] == sorted((row.error for row in found), reverse=True)
    assert sum(row.share for row in found) == pytest.approx(1)
    assert all(row.limit == pytest.approx(0.242, abs=1e-3) for row in found)
    assert layer_table("dpn68", found).title == "dpn68, the error of each block alone"


def test_a_bad_scale_is_named_by_its_block(graphs, tmp_path):
    spoilt = scaled(graphs[1], tmp_path / "bad.onnx", "features_conv4_5_c1x1_a_act", 1 / 100)
    found = block_errors(graphs[0], spoilt, IMAGES, least_cosine=0.9)
    assert found[0].block == "conv4_5"
    assert layer_sentence(found).startswith("conv4_5 adds the most: alone it changes the logits by ")


def test_the_fewest_blocks_are_kept_with_which_the_rest_keeps_to_the_policy(graphs, tmp_path):
    spoilt = scaled(graphs[1], tmp_path / "bad.onnx", "features_conv3_1_c1x1_a_act", 1 / 100)
    asked = []

    def make(kept):
        asked.append(kept)
        return graphs[1] if "conv3_1" in kept else spoilt

    def chosen(make):
        return fewest_kept(graphs[0], make, lambda: nullcontext(iter(IMAGES)), precision="int8", classes_count=False)

    assert chosen(make) == ("conv3_1",)
    assert asked[0] == () and len(asked) < 8
    assert chosen(lambda kept: graphs[1]) == ()


def test_graphs_of_two_networks_are_an_error(graphs, tmp_path):
    model = onnx.load(graphs[1])
    model.graph.node[0].name = "another"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(RunError, match="are not graphs of one network: their nodes differ"):
        block_errors(graphs[0], tmp_path / "other.onnx", IMAGES, least_cosine=0.9)


def scaled(path, into, tensor, factor):
    """The graph with one activation's scale multiplied."""
    model = onnx.load(path)
    (found,) = (each for each in model.graph.initializer if each.name == f"{tensor}.scale")
    found.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(found) * factor).astype(np.float32), found.name))
    onnx.save(model, into)
    return into
