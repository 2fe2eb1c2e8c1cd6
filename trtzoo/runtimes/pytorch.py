"""PyTorch eager on the CPU: the reference itself, from the checkpoint that the ONNX file was made from."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trtzoo import models
from trtzoo.errors import StoreError
from trtzoo.models import sources, weights
from trtzoo.spec import OnnxSidecar, Sample
from trtzoo.store import decode, sha256_file, sidecar_path

Array = np.ndarray[Any, Any]


class Session:
    """A network in float32, whatever the file's type. Raises StoreError where its checkpoint is not at hand."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        self.batch, self.threads = batch, threads or len(os.sched_getaffinity(0))
        torch.set_num_threads(self.threads)
        self._network = _network(path)
        self._images = torch.empty(0)
        self.settings: dict[str, str] = {}
        self.versions = {"torch": str(torch.__version__)}

    def infer(self, images: Array) -> Array:
        self._images = torch.from_numpy(images)
        with torch.inference_mode():
            return np.asarray(self._network(self._images).numpy())

    def sample(self) -> Sample:
        start = time.perf_counter()
        with torch.inference_mode():
            self._network(self._images)
        total = time.perf_counter() - start
        return Sample(total=total, compute=total)

    def close(self) -> None:
        del self._network


def _network(path: Path) -> torch.nn.Module:
    sidecar = decode(sidecar_path(path).read_bytes(), OnnxSidecar, where=str(sidecar_path(path)))
    model, made_from = models.find(sidecar.model), sidecar.weights
    network, record = weights.load(model, _checkpoint(path, sidecar), classes=sidecar.classes)
    if record.sha256 != made_from.sha256:
        raise StoreError(f"{path} was made from other weights than {record.origin} has now. Run: trtzoo export {model.name}")
    return network


def _checkpoint(path: Path, sidecar: OnnxSidecar) -> sources.Checkpoint:
    """Where the weights are: at their publisher's, or in the user's own file, if it is there and unchanged."""
    made_from = sidecar.weights
    if made_from.origin == sources.SEEDED or "://" in made_from.origin:
        return sources.locate(models.find(sidecar.model), made_from.source)
    own = Path(sidecar.checkpoint or made_from.origin)
    if not own.is_file() or sha256_file(own) != made_from.sha256:
        what = "is not that file any more" if own.is_file() else "is not there"
        raise StoreError(
            f"{path} was made from {own}, which {what}, and the PyTorch runtime needs it. Put it back, or run: "
            f"trtzoo export {sidecar.model} --weights FILE --force"
        )
    return sources.Checkpoint(made_from.source, own, made_from.origin)
