"""A GPU by way of a framework that tells no more than when it is done: every part is awaited and timed by the host's clock."""

import os
import time

import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.records import Sample


class Staged:
    """A session of three parts, each of which returns when the GPU has done it: `_put`, `_run`, `_get`.

    Without `transfers` images and logits stay on the GPU, and a sample is `_run` alone.
    """

    versions: dict[str, str]
    threads = 1

    def __init__(self, *, transfers: bool, pinned: bool) -> None:
        self._transfers, self._images = transfers, np.empty(0)
        self.settings = {
            "transfers": "on" if transfers else "off",
            "host memory": "pinned" if pinned else "pageable",
            "clock": "the host's",
        }

    def infer(self, images: Array) -> Array:
        """Images (batch, 3, S, S) → logits (batch, classes), by the very work that `sample` times."""
        self._images = images
        self._put(images)
        self._run()
        return self._get()

    def sample(self) -> Sample:
        begin = copied = time.perf_counter()
        if self._transfers:
            self._put(self._images)
            copied = time.perf_counter()
        self._run()
        done = end = time.perf_counter()
        if self._transfers:
            self._get()
            end = time.perf_counter()
        return Sample(total=end - begin, compute=done - copied, h2d=copied - begin, d2h=end - done)

    def _put(self, images: Array) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        raise NotImplementedError

    def _get(self) -> Array:
        raise NotImplementedError


def forbid_tf32() -> None:
    """Float32 in full, in every NVIDIA library that this process loads from now on: their own default is TF32."""
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
