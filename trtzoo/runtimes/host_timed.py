"""Timing by the host's clock, for frameworks that report only when an inference is done."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.arrays import Array
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.records import Sample
from trtzoo.core.system import bf16_instructions, int8_instructions

OUT_OF_MEMORY = ("out of memory", "Failed to allocate memory", "CUDNN_STATUS_ALLOC_FAILED")


class HostSession:
    """A session whose `_compute` returns when the logits of the images that `infer` was last given are there."""

    settings: dict[str, str]
    versions: dict[str, str]
    _compute: Callable[[], object]
    _type: type[np.floating[Any]] = np.float32

    def prepare(self, images: Array) -> Array:
        """Convert images to the network's type."""
        return images.astype(self._type, copy=False)

    def sample(self) -> Sample:
        start = time.perf_counter()
        self._compute()
        total = time.perf_counter() - start
        return Sample(total=total, compute=total)

    def close(self) -> None:
        """Drop the private attributes, which hold the session's memory, the last one first."""
        for name in [name for name in reversed(vars(self)) if name.startswith("_")]:
            delattr(self, name)


class StagedSession(HostSession):
    """A session on a GPU whose stages `_upload`, `_compute` and `_download` return when the GPU has finished them.

    Without `transfers`, images and logits stay on the GPU and a sample times `_compute` only.
    """

    threads = 1
    _upload: Callable[[Array], None]
    _download: Callable[[], Array]

    def __init__(self, *, transfers: bool = True, pinned: bool = True) -> None:
        self._transfers, self._images = transfers, np.empty(0)
        self.settings = {
            "transfers": "on" if transfers else "off",
            "host memory": "pinned" if pinned else "pageable",
            "clock": "the host's",
        }

    def infer(self, images: Array) -> Array:
        """Images (batch, 3, S, S) → logits (batch, classes), by the same stages that `sample` times."""
        self._images = images
        with memory_errors():
            self._upload(images)
            self._compute()
            return self._download()

    def sample(self) -> Sample:
        with memory_errors():
            if not self._transfers:
                return super().sample()
            start = time.perf_counter()
            self._upload(self._images)
            uploaded = time.perf_counter()
            self._compute()
            computed = time.perf_counter()
            self._download()
            end = time.perf_counter()
        return Sample(total=end - start, compute=computed - uploaded, h2d=uploaded - start, d2h=end - computed)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError where the GPU's memory is full, which frameworks report in the text of an error only."""
    try:
        yield
    except Exception as error:
        if any(text in str(error) for text in OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


def set_tf32(allowed: bool) -> None:
    """Disable TF32, the default of NVIDIA's libraries, in each of them that this process loads later, unless it is allowed."""
    if not allowed:
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"


def float32_settings(path: Path) -> dict[str, str]:
    """The settings of a session that computes in float32: they say so if the exported file has another precision."""
    return {} if read_record(sidecar_path(path), OnnxSidecar).precision == "fp32" else {"arithmetic": "float32"}


def int8_settings(path: Path) -> dict[str, str]:
    """The settings of a session on a processor that computes a quantized file in integers: by which instructions."""
    sidecar = read_record(sidecar_path(path), OnnxSidecar) if sidecar_path(path).is_file() else None
    return (
        {"int8 instructions": int8_instructions()} if sidecar and sidecar.quantization and sidecar.precision == "int8" else {}
    )


def bf16_settings(path: Path) -> dict[str, str]:
    """The settings of a session on a processor that computes a BF16 file in BF16: by which instructions; else empty."""
    if not sidecar_path(path).is_file() or read_record(sidecar_path(path), OnnxSidecar).precision != "bf16":
        return {}
    return {"bf16 instructions": bf16_instructions()}
