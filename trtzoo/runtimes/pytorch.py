"""PyTorch eager, on the CPU the reference itself: from the checkpoint that the ONNX file was made from."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError, StoreError
from trtzoo.core.files import load_sidecar, sha256_file
from trtzoo.core.records import Sample
from trtzoo.core.system import available_cores
from trtzoo.models import sources, weights
from trtzoo.models.table import find_model
from trtzoo.runtimes.host_timed import Staged, forbid_tf32
from trtzoo.runtimes.registry import float32_settings


class Session:
    """A network in float32; of a file of another type `settings` says so. Raises StoreError without its checkpoint."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        self.batch, self.threads = batch, threads or available_cores()
        torch.set_num_threads(self.threads)
        self._network = _network(path)
        self._images = torch.empty(0)
        self.settings = float32_settings(path)
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


class OnDevice(Staged):
    """The network in the file's precision on the device `where` ("cuda:0"). Raises StoreError as Session does."""

    def __init__(self, path: Path, *, batch: int, where: str, transfers: bool, pinned: bool) -> None:
        super().__init__(transfers=transfers, pinned=pinned)
        sidecar = load_sidecar(path, OnnxSidecar)
        self._where, kind = torch.device(where), torch.float16 if sidecar.precision == "fp16" else torch.float32
        self._network = _network(path).to(self._where, kind)
        self._host = torch.zeros(batch, 3, sidecar.size, sidecar.size, dtype=kind, pin_memory=pinned)
        self._source, self._result = self._host.to(self._where), torch.empty(0)
        self.versions = {"torch": str(torch.__version__)}

    def infer(self, images: Array) -> Array:
        self._host.copy_(torch.from_numpy(images))
        return super().infer(images)

    def close(self) -> None:
        del self._network, self._source, self._result, self._host

    def _put(self, images: Array) -> None:
        self._source.copy_(self._host, non_blocking=True)
        self._wait()

    def _run(self) -> None:
        with _full_is_told(), torch.inference_mode():
            self._result = self._network(self._source)
            self._wait()

    def _get(self) -> Array:
        return np.asarray(self._result.cpu().numpy())

    def _wait(self) -> None:
        if self._where.type == "cuda":
            torch.cuda.synchronize(self._where)


def cuda(
    path: Path, *, batch: int, device: int = 0, tf32: bool = False, transfers: bool = True, pinned: bool = True
) -> OnDevice:
    """The network on a GPU, convolutions by the fastest of cuDNN's algorithms. Raises MachineError without a CUDA build."""
    if not tf32:
        forbid_tf32()
    if not torch.cuda.is_available():
        raise MachineError(
            f"PyTorch {torch.__version__} here is built without CUDA, or finds no GPU. What is here: trtzoo doctor"
        )
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    with _full_is_told():
        return OnDevice(path, batch=batch, where=f"cuda:{device}", transfers=transfers, pinned=pinned)


@contextmanager
def _full_is_told() -> Iterator[None]:
    """A GPU without room as a MemoryError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error


def _network(path: Path) -> torch.nn.Module:
    sidecar = load_sidecar(path, OnnxSidecar)
    model, made_from = find_model(sidecar.model), sidecar.weights
    network, record = weights.load(model, _checkpoint(path, sidecar), classes=sidecar.classes)
    if record.sha256 != made_from.sha256:
        raise StoreError(f"{path} was made from other weights than {record.origin} has now. Run: trtzoo export {model.name}")
    return network


def _checkpoint(path: Path, sidecar: OnnxSidecar) -> sources.Checkpoint:
    """Where the weights are: at their publisher's, or in the user's own file, if it is there and unchanged."""
    made_from = sidecar.weights
    if made_from.origin == sources.SEEDED or "://" in made_from.origin:
        return sources.locate(find_model(sidecar.model), made_from.source)
    own = Path(sidecar.checkpoint or made_from.origin)
    if not own.is_file() or sha256_file(own) != made_from.sha256:
        what = "is not that file any more" if own.is_file() else "is not there"
        raise StoreError(
            f"{path} was made from {own}, which {what}, and the PyTorch runtime needs it. Put it back, or run: "
            f"trtzoo export {sidecar.model} --weights FILE --force"
        )
    return sources.Checkpoint(made_from.source, own, made_from.origin)
