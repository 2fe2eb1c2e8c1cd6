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
    Winograd's algorithm, which rounds more; `quantized`, whether they compute quantized graphs in integers. A `hidden` one is
    for tests: it computes nothing, and no list offers it.
    """

    name: str
    opener: str
    device: Literal["cpu", "gpu"]
    module: str
    installer: str = "trtzoo setup"
    reads: Literal["graph", "engine"] = "graph"
    winograd: bool = False
    quantized: bool = False
    hidden: bool = False

    def tolerance(self, precision: str) -> float:
        """The bound of max|logit - reference| / max|reference| against float64 on this runtime."""
        row = find_precision(precision)
        return row.winograd_tolerance if self.winograd and row.winograd_tolerance else row.tolerance


RUNTIMES = read_rows("trtzoo.runtimes", "runtimes.toml", Runtime)
OFFERED = {name: row for name, row in RUNTIMES.items() if not row.hidden}
AUTO = "auto"
CANDIDATES = ("onnxruntime", "openvino")  # the runtimes that AUTO compares on a CPU, for each case


def installed_candidates() -> list[str]:
    return [name for name in CANDIDATES if find_spec(RUNTIMES[name].module)]


def find_runtime(name: str) -> Runtime:
    """The row called `name`, in any case. Raises UsageError with the nearest name."""
    return RUNTIMES[name] if name in RUNTIMES else find_row("runtime", name, OFFERED)
