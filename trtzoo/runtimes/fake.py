"""A runtime that computes nothing: it returns golden logits, and takes its times and failures from a script.

It is for trying the measuring loop, the sweep and the tables. The script is `NAME.script.json` beside `NAME.onnx`:
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
    """`seconds` are the times of the samples, repeated; `fail` is how the session fails, unless empty."""

    seconds: tuple[float, ...] = (0.001,)
    fail: str = ""


class Session:
    """Its samples report the script's times, not the real ones."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        script = path.with_suffix(".script.json")
        self.script = msgspec.json.decode(script.read_bytes(), type=Script) if script.exists() else Script()
        self.golden, self.batch, self.threads, self.versions = golden.load(path.with_suffix(".npz")), batch, 1, {"fake": "1"}
        self.settings: dict[str, str] = {}
        self._taken = 0
        if action := _FAILURES.get(self.script.fail):
            action()

    def infer(self, images: Array) -> Array:
        _, logits = self.golden.batch(len(images))
        return np.asarray(_WRONG_LOGITS.get(self.script.fail, np.asarray)(logits))

    def sample(self) -> Sample:
        seconds = self.script.seconds[self._taken % len(self.script.seconds)]
        self._taken += 1
        return Sample(total=seconds, compute=seconds)

    def close(self) -> None:
        """Nothing to free."""


def _raise(error: Exception) -> None:
    raise error


_FAILURES: dict[str, Callable[[], object]] = {
    "error": lambda: _raise(StoreError("the script says: error")),
    "memory": lambda: _raise(MemoryError()),
    "crash": lambda: os._exit(66),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(3600),
}

_WRONG_LOGITS: dict[str, Callable[[Array], Array]] = {
    "nan": lambda logits: logits * np.nan,
    "zeros": np.zeros_like,
    "wrong": lambda logits: logits[:, ::-1],
}
