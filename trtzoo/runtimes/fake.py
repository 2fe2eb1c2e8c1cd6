"""A runtime that computes nothing: it answers from the golden sample, takes the times it is told, fails as it is told.

For trying the loop, the sweep and the tables. Its script is `NAME.script.json` beside `NAME.onnx`:
{"seconds": [0.001, …], "fail": "error" | "memory" | "crash" | "kill" | "hang" | "nan" | "zeros" | "wrong"}.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from trtzoo.artifacts import golden
from trtzoo.core.arrays import Array
from trtzoo.core.errors import StoreError
from trtzoo.core.records import Sample


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the session does: its samples' seconds, over and over, and how it fails."""

    seconds: tuple[float, ...] = (0.001,)
    fail: str = ""


class Session:
    """Times are as scripted, not as they pass."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        beside = path.with_suffix(".script.json")
        self.script = msgspec.json.decode(beside.read_bytes(), type=Script) if beside.exists() else Script()
        self.golden, self.batch, self.threads, self.versions = golden.load(path.with_suffix(".npz")), batch, 1, {"fake": "1"}
        self.settings: dict[str, str] = {}
        self._taken = 0
        if action := _DEATHS.get(self.script.fail):
            action()

    def infer(self, images: Array) -> Array:
        _, logits = self.golden.batch(len(images))
        return np.asarray(_SPOILT.get(self.script.fail, np.asarray)(logits))

    def sample(self) -> Sample:
        seconds = self.script.seconds[self._taken % len(self.script.seconds)]
        self._taken += 1
        return Sample(total=seconds, compute=seconds)

    def close(self) -> None:
        """Nothing to free."""


def _raise(error: Exception) -> None:
    raise error


_DEATHS: dict[str, Callable[[], object]] = {
    "error": lambda: _raise(StoreError("the script says: error")),
    "memory": lambda: _raise(MemoryError()),
    "crash": lambda: os._exit(66),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(3600),
}

_SPOILT: dict[str, Callable[[Array], Array]] = {
    "nan": lambda logits: logits * np.nan,
    "zeros": np.zeros_like,
    "wrong": lambda logits: logits[:, ::-1],
}
