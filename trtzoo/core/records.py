"""The nouns of trtzoo: frozen values without a framework. Times are in seconds, sizes in bytes; only text has ms and MiB."""

import math
import re
from datetime import datetime
from typing import Literal

import msgspec

SHORTEST, LONGEST = 1e-9, 1e6  # seconds that a query may take; a layer or a step may take none
MAX_BATCH = 1024
MAX_THREADS = 1024
USUAL_WEIGHTS = "paddle"  # the source that file names do not mention: the published tables' publisher
SCHEMA = 1  #: Version of every JSON file that trtzoo writes. Readers refuse any other.


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is written as JSON."""


def check(record: Record, **rules: bool) -> None:
    """Raise ValueError with the values of the fields whose rule is broken; a decoder names the place in the file."""
    if broken := [f"{name} is {getattr(record, name)!r}" for name, holds in rules.items() if not holds]:
        raise ValueError(f"{', '.join(broken)}: that cannot be")


def is_plain(name: str) -> bool:
    """Whether a text is a file name of its own: not empty, without separators and control characters, not too long."""
    usual = name.isprintable() and not set(name) & set("/\\")
    return usual and 0 < len(name.encode(errors="replace")) <= 255 and name not in (".", "..")


def is_time(text: str) -> bool:
    """Whether a text is empty or a time in ISO 8601, of a year that a computer's clock shows."""
    try:
        return not text or 1970 < datetime.fromisoformat(text).year < 3000
    except ValueError:
        return False


def are_not_negative(record: Record, *names: str) -> dict[str, bool]:
    """A rule for `check` for each of the fields: it is None, or finite and not negative."""
    return {name: (value := getattr(record, name)) is None or 0 <= value < math.inf for name in names}


def are_durations(record: Record, *names: str) -> dict[str, bool]:
    """A rule for `check` for each of the fields: it is None, or as long as a step of a run may be, in seconds."""
    return {name: (value := getattr(record, name)) is None or 0 <= value < LONGEST for name in names}


class Preprocessing(Record, frozen=True, kw_only=True):
    """How a photograph becomes a network's input. It belongs to the weights, not to the network."""

    decoder: Literal["opencv", "pil"]
    interpolation: Literal["bilinear", "bicubic"]
    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        check(
            self,
            resize=0 < self.crop <= self.resize <= 1 << 14,
            mean=all(abs(value) < 1000 for value in self.mean),
            std=all(1e-6 < value < 1000 for value in self.std),
        )


class Weights(Record, frozen=True, kw_only=True):
    """Where a network's parameters came from. `fallback` says why they are not the requested ones, if so.

    `entry` is the part of the user's file that has them, if the user chose one.
    """

    source: str
    origin: str
    sha256: str
    entry: str = ""
    epsilon: float
    preprocessing: Preprocessing
    fallback: str = ""

    def __post_init__(self) -> None:
        check(self, epsilon=0 <= self.epsilon < 1)

    @property
    def is_local(self) -> bool:
        """Whether the user's own file had them. Older records name the publisher of the file's format instead of "file"."""
        return self.source == "file" or (self.origin != self.source and "://" not in self.origin)

    @property
    def tag(self) -> str:
        """The weights in file names: their source, or of a local file the start of its hash."""
        word = self.sha256[:8] if self.is_local else "" if self.source == USUAL_WEIGHTS else self.source[:20]
        return re.sub(r"[^\w.+-]", "_", word)  # it may come from anyone's file


Batch = int | Literal["dynamic"]


class Identity(Record, frozen=True, kw_only=True):
    """What a file computes, besides its precision. Everything that is made or measured of the file carries it.

    `model` is its name: a row's of the zoo, another that an export was given, or the file's own. `network` is what it is: a row
    of MODELS, an architecture of timm ("timm:resnet50"), a row of another zoo with its hash ("mine@0a1b2c3d"), or empty for a
    file that trtzoo did not export. Images are `height` x `width` pixels, `io` is the type of input and output, `batch` the
    ONNX file's, `sha256` its hash, or of a foreign file that of the user's, in every precision. `params` and `macs`, of one
    image, are 0 if nobody counted them.
    """

    model: str
    network: str = ""
    weights: Weights | None = None
    classes: int = 1000
    height: int = 224
    width: int = 224
    io: str = "fp32"
    batch: Batch = "dynamic"
    sha256: str = ""
    params: int = 0
    macs: int = 0

    def __post_init__(self) -> None:
        sides = {name: 0 < getattr(self, name) <= 1 << 14 for name in ("height", "width")}
        batch = self.batch == "dynamic" or 0 < self.batch <= MAX_BATCH
        names = {"model": is_plain(self.model), "network": not self.network or is_plain(self.network)}
        names |= {"sha256": not self.sha256 or is_plain(self.sha256)}
        classes, io = 0 < self.classes <= 1 << 20, self.io in ("fp32", "fp16")
        check(self, classes=classes, io=io, batch=batch, **names, **sides, **are_not_negative(self, "params", "macs"))

    @property
    def shape(self) -> str:
        """What differs from 1000 classes and images of 224 x 224 in FP32, as in file names: "c10-s32-io16".

        It begins with "timm" or a hash if the network is not the one of MODELS with this name.
        """
        kind = self.network.rpartition("@")[2] if "@" in self.network else self.network.partition(":")[0]
        size = f"s{self.height}" if self.height == self.width else f"s{self.height}x{self.width}"
        differs = {
            re.sub(r"[^\w.+-]", "_", kind): kind != self.network,
            f"c{self.classes}": self.classes != 1000,
            size: (self.height, self.width) != (224, 224),
            "io16": self.io == "fp16",
        }
        if self.is_foreign:  # the hash says it, but not which types trtzoo gave it
            return "io16" if self.io == "fp16" else ""
        return "-".join(name for name, is_so in differs.items() if is_so)

    @property
    def form(self) -> str:
        """The shape, and "fixed" if the ONNX file takes one batch size only: what sets its latencies apart."""
        return "-".join(filter(None, (self.shape, "" if self.batch == "dynamic" else "fixed")))

    @property
    def is_foreign(self) -> bool:
        """Whether trtzoo did not export it: then only the file's hash says what it is."""
        return not self.network

    @property
    def tag(self) -> str:
        """What tells files of one name apart: the weights' tag, or the start of a foreign file's hash."""
        return self.sha256[:8] if self.is_foreign else self.weights.tag if self.weights else ""

    @property
    def row(self) -> tuple[str, str, str]:
        """What a row of a table is about, for all weights: the name, the form, and the network or a foreign file's hash."""
        return (self.model, self.form, self.tag if self.is_foreign else "" if self.network == self.model else self.network)

    @property
    def published(self) -> bool:
        """Whether it is a network of MODELS under its own name in the published form, with any weights."""
        return self.network == self.model and not self.form

    @property
    def title(self) -> str:
        """The name, and what differs from the usual shape, in words: "dpn68 (10 classes, 32x32)"."""
        differs = [f"{self.classes} classes"] if self.classes != 1000 else []
        differs += [f"{self.height}x{self.width}"] if (self.height, self.width) != (224, 224) else []
        differs += ["FP16 I/O"] if self.io == "fp16" else []
        differs += ["fixed batch"] if self.batch != "dynamic" else []
        return f"{self.model} ({', '.join(differs)})" if differs else self.model


class GoldenCheck(Record, frozen=True, kw_only=True):
    """Logits compared with the golden sample: error = max|difference| / max|reference|."""

    error: float
    tolerance: float
    images: int

    def __post_init__(self) -> None:
        check(self, **are_not_negative(self, "error", "tolerance", "images"))


class Device(Record, frozen=True, kw_only=True):
    """A processor or GPU. `name` is the maker's, `key` the folder of its results; a GPU has the last four fields.

    Of equal GPUs in a machine, only the first has their common `key`: the others' end with "-device" and the index.
    """

    key: str
    name: str
    kind: Literal["cpu", "gpu"]
    cores: int = 0
    memory: int = 0
    driver: str = ""
    sm: int = 0
    index: int = 0
    bus_id: str = ""
    uuid: str = ""

    def __post_init__(self) -> None:
        check(
            self,
            key=is_plain(self.key),
            name=bool(self.name.strip()),
            **are_not_negative(self, "cores", "memory", "sm", "index"),
        )

    @property
    def title(self) -> str:
        """The name, and of equal GPUs after the first the index: "Tesla T4 (device 1)"."""
        return f"{self.name} (device {self.index})" if self.key.endswith(f"-device{self.index}") else self.name


class CpuPeak(Record, frozen=True, kw_only=True):
    """A processor's highest rate of float32 arithmetic, FLOP/s, reached by `kernel` on `threads` threads.

    The best of each of `turns` was between `low` and `rate`. `other_load` is how many cores other programs had, at most.
    """

    rate: float
    low: float
    kernel: str
    turns: int
    threads: int
    other_load: float = 0.0

    def __post_init__(self) -> None:
        check(self, low=1e6 < self.low <= self.rate < 1e18, **are_not_negative(self, "turns", "threads", "other_load"))

    @property
    def is_quiet(self) -> bool:
        """Whether other programs had at most 5 % of the cores."""
        return self.other_load <= 0.05 * self.threads


class Case(Record, frozen=True, kw_only=True):
    """One cell of a table: one process, one result file. `form` is the identity's: empty for the usual classes and size.

    Engines have further conditions: `cuda_graph` (None: no CUDA graphs in this runtime), `wait`, how the host waits for the
    GPU (empty: unknown), and `flush_l2`, whether the GPU's L2 cache is flushed before each query. On a CPU, `threads` is the
    number that was asked for (None: one for each core).
    """

    model: str
    precision: str
    batch: int
    runtime: str
    device: str
    protocol: str
    cuda_graph: bool | None = None
    wait: Literal["", "spin", "block"] = ""
    flush_l2: bool = False
    threads: int | None = None
    form: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that set this case apart: graph or plain, block (spinning is usual), flush, threads2."""
        graph = {None: "", True: "graph", False: "plain"}[self.cuda_graph]
        wait = "block" if self.wait == "block" else ""
        threads = f"threads{self.threads}" if self.threads else ""
        return tuple(filter(None, (graph, wait, "flush" if self.flush_l2 else "", threads)))

    def __post_init__(self) -> None:
        texts = ("model", "precision", "runtime", "protocol")
        device = not self.device or is_plain(self.device)  # a command for trtexec has none
        form = not self.form or is_plain(self.form)
        plain = {name: is_plain(getattr(self, name)) for name in texts}
        threads = self.threads is None or 0 < self.threads <= MAX_THREADS
        check(self, batch=0 < self.batch <= MAX_BATCH, threads=threads, device=device, form=form, **plain)

    @property
    def name(self) -> str:
        subject = [self.model, self.form] if self.form else [self.model]
        return "-".join((*subject, self.precision, f"b{self.batch}", self.runtime, self.protocol, *self.conditions))


def result_name(case: Case, identity: Identity | None, *, selected: bool) -> str:
    """The name of a result's file: the case, and its weights. If a trial selected the runtime, "auto" stands in its place."""
    asked = msgspec.structs.replace(case, runtime="auto") if selected else case
    return "-".join(filter(None, (asked.name, identity.tag if identity else "")))


class BenchJob(Record, frozen=True, kw_only=True):
    """One case, the file it runs, the command that makes the file, and options of the runtime's session.

    `seconds` is the minimum sampling time, if it exceeds the protocol's. `selection_reason` says why the runtime was chosen,
    if the user did not name it. `peak` is Result's.
    """

    case: Case
    device: Device
    artifact: str
    identity: Identity | None = None
    remedy: str = ""
    options: dict[str, bool | int | str] = {}
    seconds: float | None = None
    selection_reason: str = msgspec.field(name="choice", default="")
    peak: CpuPeak | None = None


class Sample(Record, frozen=True, kw_only=True, array_like=True):
    """One timed query, in seconds. A part that the runtime cannot time separately is 0."""

    total: float
    compute: float
    h2d: float = 0.0
    d2h: float = 0.0
    enqueue: float = 0.0

    def __post_init__(self) -> None:
        if not (  # in one expression: a result has many samples
            SHORTEST <= self.total < LONGEST > self.compute >= SHORTEST
            and 0 <= self.h2d < LONGEST
            and 0 <= self.d2h < LONGEST
            and 0 <= self.enqueue < LONGEST
        ):
            query = {name: SHORTEST <= getattr(self, name) < LONGEST for name in ("total", "compute")}
            check(self, **query, **are_durations(self, "h2d", "d2h", "enqueue"))


class Failure(Record, frozen=True, kw_only=True):
    """Why a case has no number. `kind` is crash, signal, timeout, memory, wrong-output or error."""

    kind: str
    reason: str


class LayerTime(Record, frozen=True, kw_only=True):
    """One layer's share of a query, in seconds."""

    name: str
    seconds: float

    def __post_init__(self) -> None:
        check(self, **are_durations(self, "seconds"))


class Span(Record, frozen=True, kw_only=True):
    """Minimum, median and maximum of the readings of one quantity."""

    low: float
    median: float
    high: float

    def __post_init__(self) -> None:
        check(self, median=-math.inf < self.low <= self.median <= self.high < math.inf)


class Opening(Record, frozen=True, kw_only=True):
    """What opening an engine took: seconds of each step and bytes of memory. `notes` are TensorRT's warnings.

    `context` is the time to make the execution context, in which TensorRT-RTX compiles the engine's kernels or reads kept ones;
    `compilation` is that time without kept kernels, None for TensorRT, which compiles when it builds. `context_memory` is the
    GPU memory of the activations.
    """

    deserialisation: float
    context: float
    first_inference: float
    compilation: float | None = None
    engine_size: int
    context_memory: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        steps = are_durations(self, "deserialisation", "context", "first_inference", "compilation")
        check(self, **steps, **are_not_negative(self, "engine_size", "context_memory"))


class GpuState(Record, frozen=True, kw_only=True):
    """A GPU during sampling, from NVML: clocks in Hz, power in W, temperature in degrees Celsius, memory in bytes.

    None: not reported. `memory` is what all processes together use.

    `reasons` counts the readings in which clocks were limited, by cause; `others` is how many other processes had the GPU
    open. `error` says why readings are missing or stopped.
    """

    sm_clock: Span | None = None
    memory_clock: Span | None = None
    power: Span | None = None
    temperature: Span | None = None
    memory: Span | None = None
    reasons: dict[str, int] = {}
    others: int | None = None
    readings: int = 0
    error: str = ""

    def __post_init__(self) -> None:
        spans = {name: getattr(self, name) for name in ("sm_clock", "memory_clock", "power", "memory")}
        spans_hold = {name: span is None or span.low >= 0 for name, span in spans.items()}
        reasons = all(0 <= count <= self.readings for count in self.reasons.values())
        check(self, reasons=reasons, **spans_hold, **are_not_negative(self, "others", "readings"))


class GpuSettings(Record, frozen=True, kw_only=True):
    """A GPU's settings and PCIe link while it was measured, from NVML: W, Hz, modes in words; None: not reported."""

    power_limit: float | None = None
    default_power_limit: float | None = None
    max_sm_clock: float | None = None
    max_memory_clock: float | None = None
    application_sm_clock: float | None = None
    application_memory_clock: float | None = None
    default_application_sm_clock: float | None = None
    ecc: str | None = None
    persistence_mode: str | None = None
    compute_mode: str | None = None
    mig: str | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    max_pcie_generation: int | None = None
    max_pcie_width: int | None = None

    def __post_init__(self) -> None:
        numbers = (name for name in self.__struct_fields__ if not isinstance(getattr(self, name), str))
        check(self, **are_not_negative(self, *numbers))


EVALUATIONS = "accuracy"  #: The folder in a device's folder with the results of evaluations.
VERDICTS = "verdicts"  #: The folder in a device's folder with the verdicts whether a precision pays.
RUNS = "runs"  #: The folder in a device's folder with the second and further results of each case, for comparisons.


class Result(Record, frozen=True, kw_only=True):
    """The result of one case: raw samples, or the failure. Statistics are derived from the samples.

    `selection_reason` ("choice" in JSON) says why this runtime was chosen, if the user did not name it. `peak` is the
    processor's; an older file has `sgemm` instead, PyTorch's rate of float32 matrix products in FLOP/s (0: unknown), and no
    `identity`. `load` is the time to open the session, seconds; engines have its steps in `opening`. `other_load` is how many
    of this process's `available_cores` other programs used during sampling (0: an older file).
    """

    schema: int = SCHEMA
    case: Case
    identity: Identity | None = None
    device: Device
    versions: dict[str, str] = {}
    settings: dict[str, str] = {}
    threads: int = 0
    io: str = ""
    weights: Weights | None = None
    artifact_sha256: str = ""
    check: GoldenCheck | None = None
    started: str = ""
    selection_reason: str = msgspec.field(name="choice", default="")
    peak: CpuPeak | None = None
    sgemm: float = 0.0
    load: float = 0.0
    opening: Opening | None = None
    other_load: float = 0.0
    available_cores: int = 0
    gpu_state: GpuState | None = None
    gpu_settings: GpuSettings | None = None
    samples: tuple[Sample, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    failure: Failure | None = None

    def __post_init__(self) -> None:
        amounts = are_not_negative(self, "other_load", "available_cores", "threads")
        sgemm = not self.sgemm or 1e6 < self.sgemm < 1e18  # FLOP/s
        io = self.io in ("", "fp32", "fp16")
        check(self, io=io, sgemm=sgemm, started=is_time(self.started), **are_durations(self, "load"), **amounts)

    @property
    def name(self) -> str:
        """The name of its file."""
        return result_name(self.case, self.subject, selected=bool(self.selection_reason))

    @property
    def graph_error(self) -> str:
        """Why no CUDA graph could be captured, if one was asked for and the case was measured without."""
        return self.settings.get("cuda graph", "").partition(": ")[2]

    @property
    def subject(self) -> Identity:
        """What was measured. An older file does not say, and all that it may mean is a model of the usual form."""
        return self.identity or Identity(model=self.case.model, network=self.case.model, weights=self.weights)
