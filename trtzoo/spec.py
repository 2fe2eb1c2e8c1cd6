"""The nouns of trtzoo: frozen values, no framework. Seconds and bytes inside; milliseconds and MiB only where text is made."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import msgspec

from trtzoo.errors import MachineError

SCHEMA = 1
"""Version of every JSON file this program writes. A reader refuses any other."""

Batch = int | Literal["dynamic"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is written as JSON."""


class Model(msgspec.Struct, frozen=True):
    """A network: `resolve(network)(**arguments)` makes it. Exact counts at 224x224 and 1000 classes."""

    name: str
    family: str
    network: str
    arguments: dict[str, Any]
    params: int
    macs: int

    @property
    def flops(self) -> int:
        """2 x multiply-accumulates of convolutions and the classifier, one image."""
        return 2 * self.macs


class Count(msgspec.Struct, frozen=True):
    """Parameters and FLOPs by some convention."""

    params: int
    flops: int


class Precision(msgspec.Struct, frozen=True):
    """A number format. `graph` is the type of weights and activations in the ONNX file.

    `tolerance` bounds max|logit - reference| / max|reference| against float64.
    """

    name: str
    graph: Literal["fp32", "fp16"]
    tf32: bool
    tolerance: float


class Preprocessing(Record, frozen=True, kw_only=True):
    """From a photograph to a network's input. It belongs to the weights, not to the network."""

    decoder: Literal["opencv", "pil"]
    interpolation: Literal["bilinear", "bicubic"]
    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Weights(Record, frozen=True, kw_only=True):
    """Where a network's parameters came from. `fallback` says why they are not the ones that were asked for."""

    source: str
    origin: str
    sha256: str
    epsilon: float
    preprocessing: Preprocessing
    fallback: str = ""


class GoldenCheck(Record, frozen=True, kw_only=True):
    """The outcome of comparing logits with the golden sample: error = max|difference| / max|reference|."""

    error: float
    tolerance: float
    images: int


class Order(Record, frozen=True, kw_only=True):
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


class Device(Record, frozen=True, kw_only=True):
    """What ran. `name` is the maker's; `key` is its folder under benchmarks/; `sm`, `index` and `bus_id` (PCI) are a GPU's."""

    key: str
    name: str
    kind: Literal["cpu", "gpu"]
    cores: int = 0
    memory: int = 0
    driver: str = ""
    sm: int = 0
    index: int = 0
    bus_id: str = ""


class Case(Record, frozen=True, kw_only=True):
    """One cell of a table: one process, one file. `cuda_graph`: None where there is no such thing."""

    model: str
    precision: str
    batch: int
    runtime: str
    device: str
    protocol: str
    cuda_graph: bool | None = None

    @property
    def name(self) -> str:
        graph = {None: "", True: "-graph", False: "-plain"}[self.cuda_graph]
        return f"{self.model}-{self.precision}-b{self.batch}-{self.runtime}-{self.protocol}{graph}"


class Job(Record, frozen=True, kw_only=True):
    """One case, the file it runs, and options of the runtime's session.

    `seconds` is the least time to sample for, where that is more than the protocol's; `choice` says why a runtime that
    nobody named was chosen; `sgemm` is Result's.
    """

    case: Case
    device: Device
    artifact: str
    options: dict[str, bool | int] = {}
    seconds: float = 0.0
    choice: str = ""
    sgemm: float = 0.0


class Sample(Record, frozen=True, kw_only=True, array_like=True):
    """One timed query, in seconds. A part that a runtime cannot see apart is 0."""

    total: float
    compute: float
    h2d: float = 0.0
    d2h: float = 0.0
    enqueue: float = 0.0


class Protocol(msgspec.Struct, frozen=True):
    """How a number is taken: `loop` warms up and then samples until both minima are reached, seconds and queries.

    The number told is `statistic` of `metric` (rows of protocols.py). On a GPU `cuda_graph` is its default and
    `session_options` are its session's. `module` is what it needs, from the extra `extra`.
    """

    name: str
    loop: str = ""
    warm_up_seconds: float = 0.0
    warm_up_queries: int = 0
    seconds: float = 0.0
    queries: int = 1
    statistic: str = "median"
    metric: str = "end to end"
    cuda_graph: bool = True
    session_options: dict[str, bool] = {}
    module: str = ""
    extra: str = ""
    note: str = ""


class Failure(Record, frozen=True, kw_only=True):
    """Why a case has no number. `kind`: crash, signal, timeout, memory, wrong-output, error."""

    kind: str
    reason: str


class LayerTime(Record, frozen=True, kw_only=True):
    """One layer's share of a query, in seconds."""

    name: str
    seconds: float


class Span(Record, frozen=True, kw_only=True):
    """What was read of one quantity."""

    low: float
    median: float
    high: float


class GpuState(Record, frozen=True, kw_only=True):
    """A GPU while it was sampled, by NVML: clocks in Hz, power in W, temperature in degrees Celsius; None was not told.

    `reasons` counts the readings in which clocks were held down, by cause; `others` is the processes that had the GPU open
    besides ours. `error` says why there are no readings, or no more.
    """

    sm_clock: Span | None = None
    memory_clock: Span | None = None
    power: Span | None = None
    temperature: Span | None = None
    reasons: dict[str, int] = {}
    others: int | None = None
    readings: int = 0
    error: str = ""


RUNS = "runs"
"""The folder, in a device's, of a case's second and further results: for comparisons, which want several."""


class Result(Record, frozen=True, kw_only=True):
    """One case as it went: raw samples when it went well, the failure when it did not. Statistics are derived.

    `choice` says why this runtime, where nobody named it. `sgemm` is a processor's rate of float32 products, FLOP/s. `load` is
    seconds to open the session, `other_load` the cores that other programs used meanwhile.
    """

    schema: int = SCHEMA
    case: Case
    device: Device
    versions: dict[str, str] = {}
    settings: dict[str, str] = {}
    threads: int = 0
    io: str = ""
    weights: Weights | None = None
    artifact_sha256: str = ""
    check: GoldenCheck | None = None
    started: str = ""
    choice: str = ""
    sgemm: float = 0.0
    load: float = 0.0
    other_load: float = 0.0
    gpu_state: GpuState | None = None
    samples: tuple[Sample, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    failure: Failure | None = None


def resolve(target: str) -> Any:
    """The object at "package.module:attribute": how a table of names reaches code with heavy imports."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Flavour(msgspec.Struct, frozen=True):
    """A TensorRT. `install` is the pip requirement that brings `module`."""

    name: str
    title: str
    module: str
    install: str


class Card(msgspec.Struct, frozen=True):
    """A GPU as its driver names it, and its peaks by the maker's document `source`; 0 where it has none or tells none.

    `fp32` outside tensor cores, `tf32` and `fp16` on them, dense, FLOP/s; `bandwidth` of its memory, bytes/s.
    """

    name: str
    fp32: float = 0.0
    tf32: float = 0.0
    fp16: float = 0.0
    bandwidth: float = 0.0
    source: str = ""


class Gpu(msgspec.Struct, frozen=True):
    """A target, and the cards sold under its name.

    `oldest` and `newest` bound the TensorRT versions that build for it (`newest` empty: still supported); `not_rtx` says why
    TensorRT-RTX cannot (empty: it can).
    """

    name: str
    title: str
    sm: int
    cards: tuple[Card, ...]
    oldest: str = "8.6"
    newest: str = ""
    not_rtx: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What drivers call it."""
        return tuple(card.name for card in self.cards)


def need(name: str, *, module: str, extra: str) -> None:
    """Raises MachineError, with the extra that brings it, where `module`, which `name` needs, is not installed."""
    if module and importlib.util.find_spec(module) is None:
        raise MachineError(f"{name} needs {module}, which is not installed. Run: pip install 'trtzoo[{extra}]'")
