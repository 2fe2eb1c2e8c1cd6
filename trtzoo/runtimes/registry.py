"""RUNTIMES, one table of runtimes.toml and one file each; AUTO picks the fastest of CANDIDATES. Imports no framework."""

from importlib.util import find_spec
from typing import Any, Literal, Protocol

import msgspec

from trtzoo.core.errors import find_row
from trtzoo.core.modules import read_rows
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import Sample


class Session(Protocol):
    """A loaded network at one batch. It times its own inferences, so the measuring loop contains policy only.

    An engine's session also has `opening`, a record of what opening it took.
    """

    versions: dict[str, str]
    settings: dict[str, str]
    threads: int

    def prepare(self, images: Any) -> Any:
        """Do what no inference should be timed with: convert images to the type that the network takes."""

    def infer(self, images: Any) -> Any:
        """Compute images (batch, 3, S, S) of float32 into logits (batch, classes). Raises RunError, MemoryError."""

    def sample(self) -> Sample:
        """Time one inference, in seconds, on the images that `infer` was last given. Raises as `infer` does."""

    def close(self) -> None:
        """Free everything."""


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`resolve(opener)(artifact, batch=…)` opens a Session on `device`.

    `reads` is the kind of artifact: an exported graph, or an engine built from it. The runtime needs the Python module
    `module`, which the command `installer` installs. `winograd` says whether its kernels may compute 3x3 convolutions by
    Winograd's algorithm, which rounds more. `computes` are the precisions besides FP32, FP16 and TF32 that it computes in their
    own types, `emulates` those that it computes in others with the same rounding: this checks logits, and measures nothing. A
    `hidden` runtime is for tests: it computes nothing, and no list offers it.
    """

    name: str
    opener: str
    device: Literal["cpu", "gpu"]
    module: str
    installer: str = "trtzoo setup"
    reads: Literal["graph", "engine"] = "graph"
    winograd: bool = False
    computes: tuple[str, ...] = ()
    emulates: tuple[str, ...] = ()
    hidden: bool = False

    def tolerance(self, precision: str) -> float:
        """The bound of max|logit - reference| / max|reference| against float64 on this runtime."""
        row = find_precision(precision)
        return row.winograd_tolerance if self.winograd and row.winograd_tolerance else row.tolerance

    def can(self, precision: str, *, timed: bool) -> bool:
        """Whether it computes a precision, and if it is not `timed`, whether it emulates it."""
        others = self.computes if timed else self.computes + self.emulates
        return find_precision(precision).graph in EVERYWHERE or precision in others


RUNTIMES = read_rows("trtzoo.runtimes", "runtimes.toml", Runtime)
OFFERED = {name: row for name, row in RUNTIMES.items() if not row.hidden}
AUTO = "auto"
EVERYWHERE = ("fp32", "fp16")  # the graphs that every runtime takes
CANDIDATES = ("onnxruntime", "openvino")  # the runtimes that AUTO compares on a CPU, for each case


def installed_candidates(precision: str = "fp32") -> list[str]:
    """The names of the installed ones that compute the precision."""
    rows = [RUNTIMES[name] for name in CANDIDATES]
    return [row.name for row in rows if find_spec(row.module) and row.can(precision, timed=True)]


def find_runtime(name: str) -> Runtime:
    """The row called `name`, in any case. Raises UsageError with the nearest name."""
    return RUNTIMES[name] if name in RUNTIMES else find_row("runtime", name, OFFERED)
