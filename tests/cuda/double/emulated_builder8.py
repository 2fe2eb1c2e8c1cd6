"""The double of TensorRT 8.6's builder, which has no typed networks.

Every tensor is FLOAT until the build chooses its type. The flag FP16 only allows FP16: a grouped convolution stays FP32 unless
its layer is told to be HALF and the build must obey.
"""

from __future__ import annotations

import json
from enum import IntEnum

import emulated_builder
import onnx
from emulated_builder import IBuilderConfig
from emulated_tensorrt import DataType


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0


class BuilderFlag(IntEnum):
    TF32 = 1
    FP16 = 2
    OBEY_PRECISION_CONSTRAINTS = 3


class ILayer(emulated_builder.ILayer):
    precision = DataType.FLOAT

    def __init__(self, node: onnx.NodeProto, dtype: str) -> None:
        super().__init__(node, "FLOAT")
        self._grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)

    def set_output_type(self, index: int, dtype: DataType) -> None:
        self._output.dtype = dtype

    def _is_half(self, flags: set[BuilderFlag]) -> bool:
        told = self.precision is DataType.HALF and BuilderFlag.OBEY_PRECISION_CONSTRAINTS in flags
        return BuilderFlag.FP16 in flags and (told or not self._grouped)


class INetworkDefinition(emulated_builder.INetworkDefinition):
    _layer = ILayer


class Builder(emulated_builder.Builder):
    _network = INetworkDefinition

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes:
        plan = json.loads(super().build_serialized_network(network, config) or b"{}")
        return json.dumps(plan | {"fp32": [each.name for each in network._layers if not each._is_half(config.flags)]}).encode()
