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
from trtzoo.store import decode, sidecar_path

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
    made_from = sidecar.weights
    if made_from.origin != sources.SEEDED and "://" not in made_from.origin:
        raise StoreError(
            f"{path} was made from {made_from.origin}, and the PyTorch runtime loads published or seeded weights only."
        )
    model = models.find(sidecar.model)
    network, record = weights.load(model, sources.locate(model, made_from.source), classes=sidecar.classes)
    if record.sha256 != made_from.sha256:
        raise StoreError(f"{path} was made from other weights than {record.origin} has now. Run: trtzoo export {model.name}")
    return network
