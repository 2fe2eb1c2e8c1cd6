"""Exported ONNX files: the order for one, and the sidecar that describes it."""

from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec.structs import replace

from trtzoo.core.decoding import UnreadableError, decode_json, read_file
from trtzoo.core.precisions import GRAPHS
from trtzoo.core.records import MAX_BATCH, SCHEMA, Batch, GoldenCheck, Identity, Preprocessing, Record, Weights, check, is_plain

CalibrationMethod = Literal["minmax", "mse", "percentile", "entropy"]
CALIBRATION_METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)
DEFAULT_METHOD: CalibrationMethod = "minmax"


class Calibration(Record, frozen=True, kw_only=True):
    """What the scales of a quantized graph come from: `images` of the data set `data`, or "synthetic" ones."""

    data: str
    fingerprint: str
    images: int
    method: CalibrationMethod

    def __post_init__(self) -> None:
        check(self, data=is_plain(self.data), images=self.images > 0)


class Quantization(Record, frozen=True, kw_only=True):
    """How a graph is quantized. `scales` are those of the activations, by tensor; weights' are in the file, one per channel.

    `convolutions` of `all_convolutions` compute in the quantized type; `unfit` counts those that it cannot have, by reason.
    `kept` are blocks that stay in floating point.
    `unreadable` of the calibration's images could not be read.
    """

    calibration: Calibration
    scales: dict[str, float]
    convolutions: int
    all_convolutions: int
    unfit: dict[str, int] = msgspec.field(default_factory=dict)
    kept: tuple[str, ...] = ()
    unreadable: int = 0

    def __post_init__(self) -> None:
        check(self, scales=all(0 < scale < 1e30 for scale in self.scales.values()))


Exporter = Literal["direct", "torch.onnx"]


class ExportOrder(Record, frozen=True, kw_only=True):
    """An ONNX file to export. `precision` is its kind, in GRAPHS, and `name` another name than the model's.

    `size` is the height and width of an image in pixels. A quantized graph has a `calibration`; the blocks `kept` of it stay in
    floating point.
    """

    model: str
    name: str = ""
    precision: str
    io: str = "fp32"
    batch: Batch = "dynamic"
    opset: int = 17
    classes: int = 1000
    size: int = 224
    calibration: Calibration | None = None
    kept: tuple[str, ...] = ()

    @property
    def in_floats(self) -> "ExportOrder":
        """The order of the same network in FP32, as it is calibrated."""
        return replace(self, name="", precision="fp32", io="fp32", batch="dynamic", opset=17, kept=())

    @property
    def graph_opset(self) -> int:
        """The graph's opset: at least what its kind needs."""
        return max(self.opset, GRAPHS[self.precision].opset)

    @property
    def floats(self) -> str:
        """The type of the graph's floating-point tensors."""
        return GRAPHS[self.precision].floats

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
        return (
            "-".join([self.name or self.model, self.precision, *(name for name, differs in settings.items() if differs)])
            + ".onnx"
        )


class AdoptionOrder(Record, frozen=True, kw_only=True):
    """A user's ONNX file to adopt. `name` is what it is called here, `io` the type of input and output."""

    source: Path
    identity: Identity
    precision: str
    io: str
    preprocessing: Preprocessing
    name: str

    @property
    def model(self) -> str:
        return self.name

    @property
    def batch(self) -> Batch:
        return self.identity.batch

    @property
    def file_name(self) -> str:
        """Two files of one name differ in their hash."""
        io = "io16" if self.io == "fp16" else ""
        return "-".join(filter(None, (self.name, self.identity.sha256[:8], self.precision, io))) + ".onnx"


class OnnxSidecar(Record, frozen=True, kw_only=True):
    """The JSON file beside an ONNX file: its inputs, its hash and its check against the golden sample.

    `model` is its name, `network` the row of MODELS that it is: empty for a foreign file, None in older files, whose model it
    is. `checkpoint` is the path of the user's own weights on this machine, of a foreign file the user's, or empty. `bytes` is
    the size of the ONNX file. `width` is that of an image if it is not `size`. `params` and `macs` are as in Identity.
    `reference` is what computed the golden sample, `rewrites` what was changed of a foreign file, in phrases. `exporter` made
    the graph: ours, "direct", or PyTorch's.
    """

    schema: int = SCHEMA
    kind: Literal["onnx"] = "onnx"
    model: str
    network: str | None = None
    precision: str
    io: str
    batch: Batch
    opset: int
    classes: int
    size: int
    width: int = 0
    params: int = 0
    macs: int = 0
    weights: Weights
    checkpoint: str = ""
    reference: str = "float64"
    rewrites: tuple[str, ...] = ()
    exporter: Exporter = "direct"
    inputs_sha256: str
    sha256: str
    bytes: int
    golden: str
    golden_sha256: str
    check: GoldenCheck
    versions: dict[str, str]
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        names = {name: is_plain(getattr(self, name)) for name in ("golden", "model", "precision")}
        batch = self.batch == "dynamic" or 0 < self.batch <= MAX_BATCH
        sides = {"classes": 0 < self.classes <= 1 << 20, "size": 0 < self.size <= 1 << 14, "width": 0 <= self.width <= 1 << 14}
        check(self, io=self.io in ("fp32", "fp16"), batch=batch, bytes=self.bytes >= 0, **names, **sides)

    @property
    def identity(self) -> Identity:
        network = self.model if self.network is None else self.network
        return Identity(
            model=self.model,
            network=network,
            weights=self.weights,
            classes=self.classes,
            height=self.size,
            width=self.width or self.size,
            io=self.io,
            batch=self.batch,
            sha256=self.sha256 if network else self.weights.sha256,
            params=self.params,
            macs=self.macs,
        )


def is_sidecar(path: Path) -> bool:
    """Whether a file is a sidecar of trtzoo's, intact or damaged. JSON of other programs is not; that of no program is."""
    if not path.is_file():
        return False
    try:
        content = decode_json(read_file(path))
    except (UnreadableError, OSError):
        return True
    return isinstance(content, dict) and content.get("kind", "onnx") == "onnx" and {"schema", "golden"} <= content.keys()
