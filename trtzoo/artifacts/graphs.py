"""Exported ONNX files: the order for one, and the sidecar that describes it."""

from typing import Literal

from trtzoo.core.records import MAX_BATCH, SCHEMA, GoldenCheck, Record, Weights, check, is_plain

Batch = int | Literal["dynamic"]


class ExportOrder(Record, frozen=True, kw_only=True):
    """An ONNX file to export. `size` is the height and width of an image in pixels."""

    model: str
    precision: str
    io: str = "fp32"
    batch: Batch = "dynamic"
    opset: int = 17
    classes: int = 1000
    size: int = 224

    @property
    def file_name(self) -> str:
        """The model, the precision, and each setting that differs from its default."""
        settings = {
            f"b{self.batch}": self.batch != "dynamic",
            "io16": self.io == "fp16",
            f"opset{self.opset}": self.opset != 17,
            f"c{self.classes}": self.classes != 1000,
            f"s{self.size}": self.size != 224,
        }
        return "-".join([self.model, self.precision, *(name for name, differs in settings.items() if differs)]) + ".onnx"


class OnnxSidecar(Record, frozen=True, kw_only=True):
    """The JSON file beside an ONNX file: its inputs, its hash and its check against the golden sample.

    `checkpoint` is the path of the user's own weights on this machine, or empty. `bytes` is the size of the ONNX file.
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

    def __post_init__(self) -> None:
        names = {name: is_plain(getattr(self, name)) for name in ("golden", "model", "precision")}
        batch = self.batch == "dynamic" or 0 < self.batch <= MAX_BATCH
        sides = {"classes": 0 < self.classes <= 1 << 20, "size": 0 < self.size <= 1 << 14}
        check(self, io=self.io in ("fp32", "fp16"), batch=batch, bytes=self.bytes >= 0, **names, **sides)
