"""RUNTIMES, one row and one file each; AUTO is the fastest of TRIED. No framework is imported here."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import unknown
from trtzoo.core.files import load_sidecar
from trtzoo.core.records import Sample


class Session(Protocol):
    """A loaded network at one batch. It times itself, so the measuring loop holds policy only."""

    versions: dict[str, str]
    settings: dict[str, str]
    threads: int

    def infer(self, images: Any) -> Any:
        """Images (batch, 3, S, S) float32 → logits (batch, classes)."""

    def sample(self) -> Sample:
        """Time one inference of the images last given to `infer`."""

    def close(self) -> None:
        """Free everything."""


class Runtime(msgspec.Struct, frozen=True):
    """`resolve(opener)(artifact path, batch=…)` gives a Session; `device` is what it runs on: "cpu" or "gpu".

    `reads` is what the artifact is: an exported graph, or the engine that was built of it. `module` is what it needs, from
    the extra `extra`.
    """

    name: str
    opener: str
    device: str
    module: str
    extra: str
    reads: Literal["graph", "engine"] = "graph"


RUNTIMES: dict[str, Runtime] = {
    row.name: row
    for row in (
        Runtime("onnxruntime", "trtzoo.runtimes.onnxruntime:Session", device="cpu", module="onnxruntime", extra="cpu"),
        Runtime("openvino", "trtzoo.runtimes.openvino:Session", device="cpu", module="openvino", extra="cpu"),
        Runtime("pytorch", "trtzoo.runtimes.pytorch:Session", device="cpu", module="torch", extra="cpu"),
        Runtime("tensorrt", "trtzoo.runtimes.tensorrt:tensorrt", device="gpu", module="tensorrt", extra="gpu", reads="engine"),
        Runtime("rtx", "trtzoo.runtimes.tensorrt:rtx", device="gpu", module="tensorrt_rtx", extra="cpu", reads="engine"),
        Runtime("onnxruntime-cuda", "trtzoo.runtimes.onnxruntime:cuda", device="gpu", module="onnxruntime", extra="gpu"),
        Runtime(
            "onnxruntime-tensorrt", "trtzoo.runtimes.onnxruntime:tensorrt", device="gpu", module="onnxruntime", extra="gpu"
        ),
        Runtime("pytorch-cuda", "trtzoo.runtimes.pytorch:cuda", device="gpu", module="torch", extra="gpu"),
        Runtime("fake", "trtzoo.runtimes.fake:Session", device="cpu", module="numpy", extra="cpu"),
    )
}


AUTO = "auto"
CANDIDATES = ("onnxruntime", "openvino")
"""What AUTO tries on a processor, case by case."""


def installed_candidates() -> list[str]:
    """Those of TRIED that are installed."""
    return [name for name in CANDIDATES if find_spec(RUNTIMES[name].module)]


def find_runtime(name: str) -> Runtime:
    """The row called `name`. Raises UsageError with the nearest name."""
    if row := RUNTIMES.get(name.lower()):
        return row
    raise unknown("runtime", name, RUNTIMES)


def float32_settings(path: Path) -> dict[str, str]:
    """The settings to be told by a session that computes any exported file in float32: nothing for one that is float32."""
    return {} if load_sidecar(path, OnnxSidecar).precision == "fp32" else {"arithmetic": "float32"}
