"""A runtime that computes nothing: it returns golden logits, and takes its times and failures from a script.

It is for trying the measuring loop, the sweep and the tables. The script is `NAME.script.json` beside `NAME.onnx`:
{"seconds": [0.001, …], "fail": "error" | "memory" | "crash" | "kill" | "hang" | "nan" | "zeros" | "wrong"}.
"""

import itertools
import os
import signal
import time
from pathlib import Path

import msgspec
import numpy as np

from trtzoo.artifacts import golden
from trtzoo.core.arrays import Array
from trtzoo.core.errors import StoreError
from trtzoo.core.records import Sample


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seconds: tuple[float, ...] = (0.001,)  # the times of the samples, repeated
    fail: str = ""


class Session:
    """Its samples report the script's times, not the real ones."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        script = path.with_suffix(".script.json")
        self.script = msgspec.json.decode(script.read_bytes(), type=Script) if script.exists() else Script()
        self.golden, self.threads, self.versions = golden.load(path.with_suffix(".npz")), threads or 1, {"fake": "1"}
        self.settings: dict[str, str] = {}
        self.times = itertools.cycle(self.script.seconds)
        match self.script.fail:
            case "error":
                raise StoreError("the script says: error")
            case "memory":
                raise MemoryError
            case "crash":
                os._exit(66)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)

    def prepare(self, images: Array) -> Array:
        return images

    def infer(self, images: Array) -> Array:
        _, logits = self.golden.batch(len(images))
        spoiled = {"nan": logits * np.nan, "zeros": np.zeros_like(logits), "wrong": logits[:, ::-1]}
        return spoiled.get(self.script.fail, logits)

    def sample(self) -> Sample:
        seconds = next(self.times)
        return Sample(total=seconds, compute=seconds)

    def close(self) -> None:
        """Nothing to free."""
