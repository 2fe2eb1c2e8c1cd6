"""ONNX files that trtzoo did not export: what they are, or why they are no image classifier of a form that it takes."""

from pathlib import Path
from typing import Any

from trtzoo.core.errors import StoreError
from trtzoo.core.records import Identity


def read_foreign(path: Path, sha256: str) -> tuple[Identity, str]:
    """The identity of a foreign ONNX file, and the type of its weights, "fp32" or "fp16". `sha256` is the file's.

    Raises StoreError if it is no ONNX file, or no image classifier: one input (N, 3, H, W) of fixed height and width, one
    output (N, classes), both FP32 or FP16.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors have no common base
        raise StoreError(f"{path} is not an ONNX file: {type(error).__name__}.") from error
    stored = {tensor.name for tensor in (*model.graph.initializer, *(each.values for each in model.graph.sparse_initializer))}
    inputs = [value for value in model.graph.input if value.name not in stored]
    outputs = list(model.graph.output)
    for values, kind in ((inputs, "input"), (outputs, "output")):
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise _refused(path, f"it has {len(values)} {kind}s ({names}), and a classifier has one")
    images, logits = _tensor(path, inputs[0]), _tensor(path, outputs[0])
    if len(images) != 4 or images[1] != 3:
        also = "; for images (N, H, W, 3), export it with channels first" if len(images) == 4 and images[3] == 3 else ""
        raise _refused(path, f"its input {inputs[0].name} is {_text(images)}, not (N, 3, H, W){also}")
    if not isinstance(images[2], int) or not isinstance(images[3], int):
        raise _refused(path, f"its input {inputs[0].name} is {_text(images)}: export it with a fixed height and width")
    if len(logits) != 2 or not isinstance(logits[1], int):
        logits = _inferred(model) or logits
    if logits[2:] == (1,) * len(logits[2:]):  # a convolution as the classifier
        logits = logits[:2]
    if len(logits) != 2 or not isinstance(logits[1], int):
        raise _refused(
            path, f"its output {outputs[0].name} is {_text(logits) if logits else 'of unknown shape'}, not (N, classes)"
        )
    if logits[1] < 2:
        raise _refused(path, f"its output {outputs[0].name} has {logits[1]} class")
    half = onnx.TensorProto.FLOAT16
    sizes = {
        kind: sum(_length(tensor) for tensor in model.graph.initializer if tensor.data_type == kind)
        for kind in (onnx.TensorProto.FLOAT, half)
    }
    identity = Identity(
        model=path.stem,
        classes=logits[1],
        height=images[2],
        width=images[3],
        io="fp16" if inputs[0].type.tensor_type.elem_type == half else "fp32",
        batch=images[0] if isinstance(images[0], int) else "dynamic",
        sha256=sha256,
        params=sum(sizes.values()),
    )
    return identity, "fp16" if sizes[half] > sum(sizes.values()) / 2 else "fp32"


def _refused(path: Path, why: str) -> StoreError:
    return StoreError(f"{path} cannot be used: {why}.")


def _tensor(path: Path, value: Any) -> tuple[int | str, ...]:
    """The shape of an input or output: lengths, and names of those that are not fixed. Raises StoreError for another type."""
    import onnx

    tensor = value.type.tensor_type
    if tensor.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        known = tensor.elem_type in onnx.TensorProto.DataType.values()
        kind = (
            onnx.TensorProto.DataType.Name(tensor.elem_type) if known and tensor.elem_type else value.type.WhichOneof("value")
        )
        raise _refused(path, f"{value.name} is {kind or 'of unknown type'}, not FLOAT or FLOAT16")
    return tuple(each.dim_value if each.dim_value > 0 else each.dim_param or "?" for each in tensor.shape.dim)


def _inferred(model: Any) -> tuple[int | str, ...]:
    """The shape of the output by onnx's shape inference; empty if it does not know."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
        return tuple(each.dim_value or each.dim_param or "?" for each in graph.output[0].type.tensor_type.shape.dim)
    except Exception:  # of a graph that onnx's C++ code refuses
        return ()


def _length(tensor: Any) -> int:
    length = 1
    for size in tensor.dims:
        length *= max(size, 0)
    return length


def _text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
