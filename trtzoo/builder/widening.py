"""A quantized graph for TensorRT 8, which has no typed networks: it takes scales in FP32 and opset 17 at most."""

from pathlib import Path

OPSET = 17


def widened(path: Path) -> bytes:
    """The graph with FP32 in place of FP16: no value changes. TensorRT 8 itself chooses FP16 for the layers between."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("<f4"), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    return bytes(model.SerializeToString(deterministic=True))
