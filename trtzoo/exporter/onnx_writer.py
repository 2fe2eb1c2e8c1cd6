"""Writes an ONNX file as a stream: each weight is folded, rounded, hashed and written in turn, and not kept.

A network of 350 MB costs one pass over its weights and no second copy of them.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError

ELEMENTS = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "fp8": TensorProto.FLOAT8E4M3FN,
}
LARGEST = {"fp32": float(np.finfo("f4").max), "fp16": 65504.0, "bf16": 255 * 2.0**120, "int8": 127, "uint8": 255, "fp8": 448}
"""The largest value of each type."""
INPUT, OUTPUT = "images", "logits"
TYPES: dict[str, np.dtype[Any]] = {name: helper.tensor_dtype_to_np_dtype(element) for name, element in ELEMENTS.items()}
_PLAIN = (TYPES["fp32"], TYPES["fp16"])  # NumPy's own
_NAMES = {dtype: name for name, dtype in TYPES.items()}
GRAPH, INITIALIZER, RAW_DATA = (bytes([field << 3 | 2]) for field in (7, 5, 9))  # Protobuf's keys of these fields


@dataclass(frozen=True)
class Weight:
    """A tensor of type `dtype`: `values` times `scale` along the first axis in float64, rounded once, when it is written."""

    name: str
    dtype: np.dtype[Any]
    values: Array
    scale: Array | None = None

    def equals(self, other: "Weight") -> bool:
        """Whether it has the type and values of another."""
        scales = (self.scale is None and other.scale is None) or np.array_equal(self.scale, other.scale)  # type: ignore[arg-type]
        return self.dtype == other.dtype and scales and np.array_equal(self.values, other.values)

    @property
    def size(self) -> int:
        return self.values.size * self.dtype.itemsize  # in bytes

    def rounded(self) -> Array:
        """The tensor's values. Raises ExportError if the type cannot represent them."""
        with np.errstate(over="ignore"):
            if self.scale is None:
                array = np.asarray(self.values, self.dtype, order="C")
            else:
                array = np.empty(self.values.shape, self.dtype if self.dtype in _PLAIN else np.float64)
                factors = self.scale.reshape(-1, *[1] * (array.ndim - 1))
                np.multiply(self.values, factors, out=array, casting="same_kind")
            if self.dtype == np.int8:
                array = np.rint(array)
            array = array.astype(self.dtype, copy=False)
        if not np.isfinite(array).all():
            kind = _NAMES[self.dtype]
            raise ExportError(f"{self.name} does not fit {kind.upper()}, whose largest value is {LARGEST[kind]:g}.")
        return array

    @property
    def element(self) -> int:
        return helper.np_dtype_to_tensor_dtype(self.dtype)

    def prefix(self) -> bytes:
        """The bytes of the tensor in a graph up to its values, which end it."""
        tensor = TensorProto(name=self.name, dims=self.values.shape, data_type=self.element)
        header: bytes = tensor.SerializeToString(deterministic=True) + RAW_DATA + varint(self.size)
        return INITIALIZER + varint(len(header) + self.size) + header


@dataclass
class OnnxGraph:
    """Nodes and weights of one ONNX graph, in one floating-point type, `precision`.

    Convolutions may be `quantized` to another type, one of Graph.quantized.
    """

    name: str
    precision: str
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    quantized: str = ""

    def node(self, operation: str, name: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """Append a node and return its name, which is also its result's name unless `outputs` are given."""
        self.nodes.append(helper.make_node(operation, list(inputs), list(outputs or (name,)), name=name, **attributes))
        return name

    def weight(self, name: str, values: Array, scale: Array | None = None, *, precision: str = "") -> str:
        """Add a tensor, `values` times `scale` along the first axis. Return its name, which is like `name` if others have that.

        Its type is the graph's, or that of `precision`; whole numbers stay int64, and truth values stay themselves.
        """
        kind = values.dtype.kind
        dtype = np.dtype("<i8") if kind == "i" else np.dtype(bool) if kind == "b" else TYPES[precision or self.precision]
        wanted, number = Weight(name, dtype, values, scale), 1
        while (there := self.weights.get(wanted.name)) and not there.equals(wanted):
            wanted, number = replace(wanted, name=f"{name}.{number}"), number + 1
        self.weights[wanted.name] = wanted
        return wanted.name

    def finish(self, name: str, io: str) -> None:
        """Make the value `name` the output, of type `io`."""
        if io != self.precision:
            self.node("Cast", OUTPUT, name, to=ELEMENTS[io])
            return
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [OUTPUT if each == name else each for each in names]

    def outline(self) -> onnx.ModelProto:
        """The model with inputs in place of its weights, but for small ones, whose values may decide shapes."""
        model = self.skeleton()
        for weight in self.weights.values():
            if weight.dtype == np.int64 or weight.values.size <= 8:
                model.graph.initializer.append(numpy_helper.from_array(weight.rounded(), weight.name))
            else:
                model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.element, weight.values.shape))
        return model

    def check(self) -> None:
        """Run onnx's full check with strict inference of types and shapes. Raises ExportError with the checker's message."""
        try:
            onnx.checker.check_model(self.outline(), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"{self.name} is not valid ONNX: {error}") from error

    def write(self, path: Path) -> str:
        """Check the graph, write the model to `path` and return the file's sha256. Equal graphs give equal bytes.

        One thread folds and writes while another hashes. Raises ExportError as `check` and `Weight.rounded` do.
        """
        self.check()
        chunks: Queue[bytes | memoryview | None] = Queue(16)
        with path.open("wb") as file, ThreadPoolExecutor(1) as hasher:
            digest = hasher.submit(_sha256, chunks)
            try:
                for chunk in self._chunks():
                    chunks.put(chunk)
                    file.write(chunk)
            finally:
                chunks.put(None)
        return digest.result()

    def skeleton(self) -> onnx.ModelProto:
        """The model without its weights."""
        body = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs)
        opset = helper.make_opsetid("", self.opset)
        ir = helper.find_min_ir_version_for([opset])
        return helper.make_model(body, opset_imports=[opset], producer_name="trtzoo", ir_version=ir)

    def _chunks(self) -> Iterator[bytes | memoryview]:
        """The file's bytes: the model's fields, the graph's, then each tensor's. Protobuf allows any order of fields."""
        model = self.skeleton()
        body = model.graph.SerializeToString(deterministic=True)
        model.ClearField("graph")
        weights = [(weight.prefix(), weight) for weight in self.weights.values()]
        size = len(body) + sum(len(prefix) + weight.size for prefix, weight in weights)
        yield model.SerializeToString(deterministic=True) + GRAPH + varint(size) + body
        for prefix, weight in weights:
            yield prefix
            yield weight.rounded().reshape(-1).view(np.uint8).data


def _sha256(chunks: Queue[bytes | memoryview | None]) -> str:
    """The hash of the chunks up to None."""
    digest = hashlib.sha256()
    while (chunk := chunks.get()) is not None:
        digest.update(chunk)
    return digest.hexdigest()


def varint(value: int) -> bytes:
    """Protobuf's variable-length integer: seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
