"""An ONNX file, written as a stream: each weight is folded, rounded, hashed and written in turn, and never kept.

A network of 350 MB costs one pass over its weights and no second copy of them.
"""

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError

ELEMENTS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
_FLOATS: dict[str, np.dtype[Any]] = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2")}


@dataclass(frozen=True)
class Weight:
    """A tensor of type `dtype`: `values`, times `scale` along the first axis in float64, rounded once when it is asked for."""

    name: str
    dtype: np.dtype[Any]
    values: Array
    scale: Array | None = None

    @property
    def bytes(self) -> int:
        return math.prod(self.values.shape) * self.dtype.itemsize

    def rounded(self) -> Array:
        """Raises ExportError where the type cannot hold the values."""
        with np.errstate(over="ignore"):
            if self.scale is None:
                array = np.ascontiguousarray(self.values, self.dtype)
            else:
                array = np.empty(self.values.shape, self.dtype)
                factors = self.scale.reshape(-1, *[1] * (array.ndim - 1))
                np.multiply(self.values, factors, out=array, casting="same_kind")
        if not np.isfinite(array).all():
            raise ExportError(f"{self.name} does not fit {self.dtype}, whose largest value is {np.finfo(self.dtype).max:g}.")
        return array

    def header(self) -> TensorProto:
        """The tensor without its values."""
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        return TensorProto(name=self.name, dims=self.values.shape, data_type=kind)


@dataclass
class OnnxGraph:
    """Nodes and weights of one ONNX graph, in one floating-point type."""

    name: str
    precision: str
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def node(self, kind: str, name: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """Append a node called `name`; its result bears the same name, unless `outputs` names several."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs or (name,)), name=name, **attributes))
        return name

    def weight(self, name: str, values: Array, scale: Array | None = None) -> str:
        """Add a floating-point tensor, `values` times `scale` along the first axis; its name."""
        self.weights[name] = Weight(name, _FLOATS[self.precision], values, scale)
        return name

    def integers(self, name: str, values: list[int]) -> str:
        """Add an int64 tensor; its name."""
        self.weights[name] = Weight(name, np.dtype("<i8"), np.array(values))
        return name

    def check(self) -> None:
        """onnx's full check, types and shapes inferred strictly; the weights stand as inputs, so none is read.

        Raises ExportError with the checker's words.
        """
        model = self._skeleton()
        for weight in self.weights.values():
            if weight.dtype.kind == "i":
                model.graph.initializer.append(_filled(weight))
            else:
                head = weight.header()
                model.graph.input.append(helper.make_tensor_value_info(head.name, head.data_type, head.dims))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"{self.name} is not valid ONNX: {error}") from error

    def model(self) -> onnx.ModelProto:
        """The whole model as one message. Raises ExportError as `Weight.rounded` does."""
        model = self._skeleton()
        model.graph.initializer.extend(_filled(weight) for weight in self.weights.values())
        return model

    def write(self, path: Path) -> str:
        """Stream the model to `path`; the file's sha256. Equal graphs give equal bytes.

        One thread folds and writes while another hashes. Raises ExportError as `Weight.rounded` does.
        """
        parts: Queue[bytes | memoryview | None] = Queue(16)
        with path.open("wb") as file, ThreadPoolExecutor(1) as hasher:
            digest = hasher.submit(_sha256, parts)
            try:
                for part in self._parts():
                    parts.put(part)
                    file.write(part)
            finally:
                parts.put(None)
        return digest.result()

    def _skeleton(self) -> onnx.ModelProto:
        """The model without its weights."""
        body = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs)
        opset = helper.make_opsetid("", self.opset)
        ir = helper.find_min_ir_version_for([opset])
        return helper.make_model(body, opset_imports=[opset], producer_name="trtzoo", ir_version=ir)

    def _parts(self) -> Iterator[bytes | memoryview]:
        """The file's bytes: the model's fields, then the graph's, then tensor by tensor (fields may come in any order)."""
        model = self._skeleton()
        body = model.graph.SerializeToString(deterministic=True)
        model.ClearField("graph")
        heads = {name: _head(weight) for name, weight in self.weights.items()}
        size = len(body) + sum(len(heads[name]) + weight.bytes for name, weight in self.weights.items())
        yield model.SerializeToString(deterministic=True) + _key(7) + varint(size) + body
        for name, weight in self.weights.items():
            yield heads[name]
            yield weight.rounded().reshape(-1).view(np.uint8).data


def _sha256(parts: Queue[bytes | memoryview | None]) -> str:
    """The hash of what comes, up to None."""
    digest = hashlib.sha256()
    while (part := parts.get()) is not None:
        digest.update(part)
    return digest.hexdigest()


def _filled(weight: Weight) -> TensorProto:
    tensor = weight.header()
    tensor.raw_data = weight.rounded().tobytes()
    return tensor


def _head(weight: Weight) -> bytes:
    """All of GraphProto.initializer's bytes (field 5) for one tensor but raw_data's own (field 9), which come last."""
    head: bytes = weight.header().SerializeToString(deterministic=True) + _key(9) + varint(weight.bytes)
    return _key(5) + varint(len(head) + weight.bytes) + head


def _key(number: int) -> bytes:
    """Protobuf's key of a length-delimited field."""
    return bytes([number << 3 | 2])


def varint(value: int) -> bytes:
    """Protobuf's variable-length integer: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
