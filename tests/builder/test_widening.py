"""What TensorRT 8 is given of a quantized graph in FP16."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import Calibration, ExportOrder
from trtzoo.builder.widening import widened
from trtzoo.exporter.plan import export
from trtzoo.images.dataset import DataSet
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import find_model


def test_it_is_fp32_of_opset_17_and_computes_the_same(tmp_path):
    source = Calibration(data="synthetic", fingerprint="", images=2, method="minmax")
    order = ExportOrder(model="densenet121", precision="int8-fp16", classes=10, size=32, calibration=source)
    (done,) = export(
        find_model("densenet121"), Checkpoint("seeded", origin="seeded"), [order], tmp_path, calibration=DataSet(synthetic=2)
    )
    assert not done.error
    wide = onnx.load_from_string(widened(done.path))
    onnx.checker.check_model(wide, full_check=True)
    assert wide.opset_import[0].version == 17
    assert {tensor.data_type for tensor in wide.graph.initializer} == {TensorProto.FLOAT, TensorProto.INT8}
    narrow = onnx.load(done.path)
    for before, after in zip(narrow.graph.initializer, wide.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(after), numpy_helper.to_array(before))
    floats = [node for node in narrow.graph.node if node.op_type != "Cast"]
    assert [node for node in wide.graph.node if node.op_type != "Cast"] == floats
    before, after = (logits(model) for model in (done.path.read_bytes(), wide.SerializeToString()))
    # FP16 between the integers moves values over a border of two integers, so the logits are alike and not the same.
    assert np.sum(before * after) > 0.97 * np.linalg.norm(before) * np.linalg.norm(after)


def logits(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": golden.images(32, 2)})[0]
