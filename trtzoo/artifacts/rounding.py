"""BF16 without its instructions: a graph in FP32 that rounds what each node computes, as BF16 hardware does after FP32 sums."""

import onnx
from onnx import TensorProto, helper, numpy_helper

BF16 = TensorProto.BFLOAT16
EXACT = {"Concat", "Flatten", "Identity", "MaxPool", "Relu", "Reshape", "Slice", "Split", "Transpose"}
"""Operations whose results need no rounding: they choose among values."""


def in_float32(given: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with FP32 in place of BF16: its weights have the same values, and each result is rounded to BF16.

    Tensors keep their names.
    """
    model = onnx.ModelProto()
    model.CopyFrom(given)
    graph = model.graph
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    for tensor in graph.initializer:
        if tensor.data_type == BF16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("<f4"), tensor.name))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == BF16:
            kinds[value.name] = BF16
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = []
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for attribute in copy.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == BF16:
                attribute.i = TensorProto.FLOAT
        rounded = [] if node.op_type in EXACT else [name for name in node.output if kinds.get(name) == BF16]
        copy.output[:] = [f"{name}.exact" if name in rounded else name for name in node.output]
        nodes.append(copy)
        for name in rounded:
            short = f"{name}.rounded"
            nodes.append(helper.make_node("Cast", [f"{name}.exact"], [short], name=f"{node.name}_rounded", to=BF16))
            nodes.append(helper.make_node("Cast", [short], [name], name=f"{node.name}_back", to=TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model
