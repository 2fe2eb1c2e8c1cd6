"""The nouns of trtzoo: frozen values, no framework. Seconds and bytes inside; milliseconds and MiB only where text is made."""

from typing import Literal

import msgspec

SCHEMA = 1
"""Version of every JSON file this program writes. A reader refuses any other."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is written as JSON."""


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


class BenchJob(Record, frozen=True, kw_only=True):
    """One case, the file it runs, and options of the runtime's session.

    `seconds` is the minimum sampling time, where it exceeds the protocol's. `selection_reason` says why a runtime was chosen
    that the user did not name. `sgemm` is Result's.
    """

    case: Case
    device: Device
    artifact: str
    options: dict[str, bool | int] = {}
    seconds: float = 0.0
    selection_reason: str = msgspec.field(name="choice", default="")
    sgemm: float = 0.0


class Sample(Record, frozen=True, kw_only=True, array_like=True):
    """One timed query, in seconds. A part that a runtime cannot see apart is 0."""

    total: float
    compute: float
    h2d: float = 0.0
    d2h: float = 0.0
    enqueue: float = 0.0


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

    `selection_reason` ("choice" in JSON) says why this runtime was chosen, if the user did not name it. `sgemm` is a
    processor's float32 matrix product rate, FLOP/s. `load` is seconds
    to open the session, `other_load` the cores that other programs used meanwhile.
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
    selection_reason: str = msgspec.field(name="choice", default="")
    sgemm: float = 0.0
    load: float = 0.0
    other_load: float = 0.0
    gpu_state: GpuState | None = None
    samples: tuple[Sample, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    failure: Failure | None = None
