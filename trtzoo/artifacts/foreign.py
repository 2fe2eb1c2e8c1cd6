"""ONNX files that trtzoo did not export: what they are, or why they are no image classifier of a form that it takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trtzoo.core.errors import StoreError
from trtzoo.core.records import Identity, Record

PROTOBUF_LIMIT = 1 << 31  # bytes of a file that Protobuf reads
BY_OPERATORS = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
SIDES = 1 << 14  # pixels, as in Identity

Sides = tuple[int | str, ...]


class ForeignFile(Record, frozen=True, kw_only=True):
    """A classifier's ONNX file that trtzoo did not export. `precision` is its weights', `bytes` their size."""

    path: Path
    identity: Identity
    precision: str
    bytes: int


def read_foreign(path: Path, sha256: str) -> ForeignFile:
    """What a foreign ONNX file is, from its graph without its weights. `sha256` is the file's.

    Raises StoreError, with the reason, if it is no ONNX file, or no image classifier that trtzoo takes: one input (N, 3, H, W)
    of fixed height and width, one output (N, classes), in FP32, FP16 or Q/DQ, of ONNX's own operations.
    """
    import onnx

    try:
        if path.stat().st_size >= PROTOBUF_LIMIT:
            raise _refused(
                path, f"it has {path.stat().st_size / 1e9:.1f} GB, and Protobuf ends at 2. Save it with external data"
            )
        model = onnx.load(path, load_external_data=False)
    except StoreError:
        raise
    except Exception as error:  # protobuf's errors have no common base
        raise StoreError(f"{path} is not an ONNX file: {type(error).__name__}.") from error
    _check_operations(path, model)
    stored = {tensor.name for tensor in (*model.graph.initializer, *(each.values for each in model.graph.sparse_initializer))}
    inputs = [value for value in model.graph.input if value.name not in stored]
    outputs = list(model.graph.output)
    for values, kind, also in ((inputs, "input", ""), (outputs, "output", ": a detector has several")):
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise _refused(path, f"it has {len(values)} {kind}s ({names}), and a classifier has one{also if values else ''}")
    images, classes = _image_sides(path, inputs[0]), _classes(path, model)
    half = onnx.TensorProto.FLOAT16
    sizes = _weights(path, model)
    types = {value.type.tensor_type.elem_type == half for value in (inputs[0], outputs[0])}
    if len(types) > 1:
        raise _refused(path, "of its input and output, one is FLOAT16 and one is FLOAT. Export it with equal types")
    identity = Identity(
        model=path.stem,
        classes=classes,
        height=int(images[2]),
        width=int(images[3]),
        io="fp16" if types == {True} else "fp32",
        batch=images[0] if isinstance(images[0], int) else "dynamic",
        sha256=sha256,
    )
    precision = "fp16" if sizes.get(half, 0) > sizes.get(onnx.TensorProto.FLOAT, 0) else "fp32"
    size = sum(count * (2 if kind == half else 4) for kind, count in sizes.items())
    return ForeignFile(path=path, identity=identity, precision=_quantized(model) or precision, bytes=size)


def _quantized(model: Any) -> str:
    """The precision of a graph with Q/DQ nodes, by the type of its zero points; empty for another."""
    import onnx

    eights = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT8E4M3FN}
    nodes = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    return "" if not nodes else "fp8" if any(eights & set(node.input) for node in nodes) else "int8"


def _refused(path: Path, why: str) -> StoreError:
    return StoreError(f"{path} cannot be used: {why}.")


def _check_operations(path: Path, model: Any) -> None:
    """Raises StoreError for an opset that the onnx package does not know, and for operations that ONNX does not define."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    opset = next((row.version for row in model.opset_import if row.domain in ("", "ai.onnx")), None)
    if model.graph.node and (opset is None or opset > newest):
        reason = f"its opset is {opset}, and onnx {onnx.__version__} knows opsets up to {newest}"
        raise _refused(path, reason if opset else "it names no opset of ONNX's own operations")
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = list(_nodes(model.graph))
    custom = {f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")} - {
        f"{domain}.{name}" for domain, name in functions
    }
    if custom:
        raise _refused(path, f"it has operations that ONNX does not define: {_names(custom)}. Export it with ONNX's own")
    if found := {node.op_type for node in nodes} & BY_OPERATORS:
        raise _refused(
            path,
            f"it is quantized with operations ({_names(found)}). Quantize it with QuantizeLinear and DequantizeLinear (Q/DQ)",
        )


def _names(found: set[str]) -> str:
    first = sorted(found)
    return ", ".join(first[:4]) + (f" and {len(first) - 4} more" if len(first) > 4 else "")


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs in its nodes' attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _image_sides(path: Path, value: Any) -> Sides:
    """The shape (N, 3, H, W) of the input. Raises StoreError for any other, and where height or width is not fixed."""
    images = _tensor(path, value)
    if len(images) != 4 or images[1] != 3:
        also = "; for images (N, H, W, 3), export it with channels first" if len(images) == 4 and images[3] == 3 else ""
        raise _refused(path, f"its input {value.name} is {_text(images)}, not (N, 3, H, W){also}")
    if not isinstance(images[2], int) or not isinstance(images[3], int):
        raise _refused(path, f"its input {value.name} is {_text(images)}: export it with a fixed height and width")
    if max(images[2], images[3]) > SIDES:
        raise _refused(path, f"its input {value.name} is {_text(images)}: no side may exceed {SIDES:,} pixels")
    return images


def _classes(path: Path, model: Any) -> int:
    """The number of classes. Raises StoreError for an output that is not (N, classes), or has one class."""
    output = model.graph.output[0]
    logits = _tensor(path, output)
    if len(logits) != 2 or not isinstance(logits[1], int):
        logits = _inferred(model) or logits
    if len(logits) > 2 and logits[2:] == (1,) * len(logits[2:]):  # a convolution as the classifier
        logits = logits[:2]
    if len(logits) != 2 or not isinstance(logits[1], int):
        shape = _text(logits) if logits else "of unknown shape"
        also = "; with more sides it is a detector's or a map" if len(logits) > 2 else ""
        raise _refused(path, f"its output {output.name} is {shape}, not (N, classes){also}")
    if not 2 <= logits[1] <= 1 << 20:
        raise _refused(path, f"its output {output.name} has {logits[1]} class{'es' if logits[1] > 1 else ''}")
    return logits[1]


def _tensor(path: Path, value: Any) -> Sides:
    """The shape of an input or output: lengths, and names of those that are not fixed. Raises StoreError for another type."""
    import onnx

    kind = value.type.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        raise _refused(path, f"{value.name} is a {kind.removesuffix('_type').replace('_', ' ')}, not a tensor")
    tensor = value.type.tensor_type
    if tensor.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        known = tensor.elem_type in onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(tensor.elem_type) if known and tensor.elem_type else "of unknown type"
        raise _refused(path, f"{value.name} is {name}, not FLOAT or FLOAT16")
    return tuple(each.dim_value if each.dim_value > 0 else each.dim_param or "?" for each in tensor.shape.dim)


def _inferred(model: Any) -> Sides:
    """The shape of the output for one image; empty if onnx does not know."""
    from trtzoo.artifacts.counting import known_shapes

    try:
        return known_shapes(model).get(model.graph.output[0].name, ())
    except Exception:  # of a graph that onnx's C++ code refuses
        return ()


def _weights(path: Path, model: Any) -> dict[int, int]:
    """The number of floating-point weights of each type. Raises StoreError for types that trtzoo does not take."""
    import onnx

    kinds, sizes = onnx.TensorProto, dict[int, int]()
    for tensor in model.graph.initializer:
        if tensor.data_type in (kinds.DOUBLE, kinds.BFLOAT16, kinds.COMPLEX64, kinds.COMPLEX128):
            raise _refused(path, f"its tensor {tensor.name} is {kinds.DataType.Name(tensor.data_type)}, not FLOAT or FLOAT16")
        if tensor.data_type in (kinds.FLOAT, kinds.FLOAT16):
            length = 1
            for side in tensor.dims:
                length *= max(side, 0)
            sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + length
    return sizes


def _text(shape: Sides) -> str:
    return f"({', '.join(map(str, shape))})"
