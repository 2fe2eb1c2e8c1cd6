"""Exported ONNX files: what was ordered, and the sidecar that describes the file."""

from typing import Literal

from trtzoo.core.records import SCHEMA, GoldenCheck, Record, Weights

Batch = int | Literal["dynamic"]


class ExportOrder(Record, frozen=True, kw_only=True):
    """An ONNX file to be made."""

    model: str
    precision: str
    io: str = "fp32"
    batch: Batch = "dynamic"
    opset: int = 17
    classes: int = 1000
    size: int = 224

    @property
    def file_name(self) -> str:
        """The model and precision, and whatever else is not the default."""
        extras = {
            f"b{self.batch}": self.batch != "dynamic",
            "io16": self.io == "fp16",
            f"opset{self.opset}": self.opset != 17,
            f"c{self.classes}": self.classes != 1000,
            f"s{self.size}": self.size != 224,
        }
        return "-".join([self.model, self.precision, *(text for text, said in extras.items() if said)]) + ".onnx"


class OnnxSidecar(Record, frozen=True, kw_only=True):
    """What stands beside an exported graph: all that made it, and what proves it.

    `checkpoint` is where the user's own weights were; it stays on this machine, as the file it is written in does.
    """

    schema: int = SCHEMA
    kind: Literal["onnx"] = "onnx"
    model: str
    precision: str
    io: str
    batch: Batch
    opset: int
    classes: int
    size: int
    weights: Weights
    checkpoint: str = ""
    inputs_sha256: str
    sha256: str
    bytes: int
    golden: str
    golden_sha256: str
    check: GoldenCheck
    versions: dict[str, str]
