"""Where FP16 diverges from FP32, block by block."""

import math

import numpy as np
import onnx
import pytest

from tests.making import tiny
from tests.verification.spoiling import spoil
from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import RunError
from trtzoo.exporter.plan import export
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import find_model
from trtzoo.report.tables.parity import divergence_sentence, first_divergence
from trtzoo.verification.layerwise import blocks, layer_divergences

IMAGES = golden.images(32)[:2]


@pytest.fixture(scope="module", params=["densenet121", "dpn68"])
def graphs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    orders = [ExportOrder(model=request.param, precision=kind, classes=10, size=32) for kind in ("fp32", "fp16")]
    done = list(export(find_model(request.param), Checkpoint("seeded", origin="seeded"), orders, folder))
    assert not any(one.error for one in done)
    return [one.path for one in done]


MIDDLE = {"densenet121": "denseblock3_denselayer7", "dpn68": "conv4_5"}


def test_blocks_are_those_of_the_network_from_stem_to_head(graphs):
    found = list(blocks(onnx.load(graphs[0]).graph))
    model = find_model(graphs[0].name.split("-")[0])
    depth = sum(model.arguments["blocks"])
    transitions = 3 if model.family == "densenet" else 0
    assert len(found) == depth + transitions + 2
    assert (found[0], found[-1]) == ("stem", "head")
    assert len(set(found)) == len(found)


def test_every_block_of_a_good_graph_rounds_within_tolerance(graphs):
    found = layer_divergences(*graphs, IMAGES)
    assert first_divergence(found) is None
    assert all(0 < row.error < row.limit and row.overflows == 0 and 0 < row.largest < 1e3 for row in found)
    assert divergence_sentence(found).startswith(f"all {len(found)} blocks are within tolerance; the closest to its limit is ")


def test_the_block_with_wrong_weights_is_the_first_out_of_tolerance(graphs, tmp_path):
    single, half = graphs
    block = MIDDLE[half.name.split("-")[0]]
    spoilt = spoil(half, tmp_path / half.name, block, lambda values: values[::-1])
    first = first_divergence(layer_divergences(single, spoilt, IMAGES))
    assert first is not None and first.block == block.replace("_denselayer", ".denselayer")


def test_a_block_that_overflows_fp16_is_reported_with_its_largest_value(graphs, tmp_path):
    single, half = graphs
    block = MIDDLE[half.name.split("-")[0]]
    large = [
        spoil(path, tmp_path / path.name, block, lambda values: np.clip(values * np.float64(2e5), -6e4, 6e4))
        for path in (single, half)
    ]
    found = layer_divergences(*large, IMAGES)
    first = first_divergence(found)
    assert first is not None and first.block == block.replace("_denselayer", ".denselayer")
    assert first.error == math.inf and first.overflows > 0 and first.largest > 65504
    assert f"has {first.overflows} values that FP16 cannot represent" in divergence_sentence(found)


def test_graphs_of_two_networks_are_an_error(graphs, tmp_path):
    other = tiny(tmp_path / "tiny.onnx", dtype="fp16")
    with pytest.raises(RunError, match="are not graphs of one network: their blocks differ"):
        layer_divergences(graphs[0], other, IMAGES)


def test_a_file_that_is_not_a_graph_is_an_error(graphs, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"\x00\xff not a graph")
    with pytest.raises(RunError, match="is not an ONNX file"):
        layer_divergences(graphs[0], tmp_path / "x.onnx", IMAGES)
