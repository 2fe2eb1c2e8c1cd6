"""PyTorch eager, from the checkpoint that the ONNX file was made from."""

from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError, StoreError
from trtzoo.core.files import read_record, sha256_file, sidecar_path
from trtzoo.core.system import available_cores
from trtzoo.models import sources, weights
from trtzoo.models.table import find_network
from trtzoo.runtimes.host_timed import HostSession, StagedSession, float32_settings, memory_errors, set_tf32

TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Session(HostSession):
    """A network on the CPU, in float32 whatever the file's precision. Raises StoreError without its checkpoint."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        self.threads = threads or available_cores()
        torch.set_num_threads(self.threads)
        self._network = _network(path)
        self.settings = float32_settings(path)
        self.versions = {"torch": str(torch.__version__)}

    def infer(self, images: Array) -> Array:
        self._images = torch.from_numpy(images)
        return np.asarray(self._compute().numpy())

    @torch.inference_mode()
    def _compute(self) -> Any:
        return self._network(self._images)


class DeviceSession(StagedSession):
    """The network in the file's precision on the device `name` ("cuda:0"). Raises StoreError without its checkpoint."""

    def __init__(self, path: Path, *, batch: int, name: str, transfers: bool = True, pinned: bool = True) -> None:
        super().__init__(transfers=transfers, pinned=pinned)
        sidecar = read_record(sidecar_path(path), OnnxSidecar)
        self._device, dtype = torch.device(name), TYPES.get(sidecar.precision, torch.float32)
        self._type = np.float16 if sidecar.precision == "fp16" else np.float32  # NumPy has no BF16: PyTorch converts to it
        self._pinned = pinned
        self._network = _network(path).to(self._device, dtype)
        self._host = torch.zeros(batch, 3, sidecar.size, sidecar.size, dtype=dtype, pin_memory=pinned)
        self._source, self._result = self._host.to(self._device), torch.empty(0)
        self.versions = {"torch": str(torch.__version__)}

    def infer(self, images: Array) -> Array:
        given = torch.from_numpy(images)
        if self._pinned:
            self._host.copy_(given)
        else:
            self._host = given.to(self._host.dtype)
        return super().infer(images)

    def _upload(self, images: Array) -> None:
        self._source.copy_(self._host, non_blocking=True)
        self._synchronize()

    def _compute(self) -> None:
        with torch.inference_mode():
            self._result = self._network(self._source)
            self._synchronize()

    def _download(self) -> Array:
        result = self._result.cpu()
        return np.asarray((result.float() if result.dtype == torch.bfloat16 else result).numpy())

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def cuda(path: Path, *, batch: int, device: int = 0, tf32: bool = False, **staged: bool) -> DeviceSession:
    """The network on a GPU, with the fastest of cuDNN's algorithms. Raises MachineError without CUDA or a GPU."""
    set_tf32(tf32)
    if not torch.cuda.is_available():
        raise MachineError(
            f"PyTorch {torch.__version__} is built without CUDA, or finds no GPU. To see what is here, run: trtzoo doctor"
        )
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    with memory_errors():
        return DeviceSession(path, batch=batch, name=f"cuda:{device}", **staged)


def _network(path: Path) -> torch.nn.Module:
    """The network with the weights that the file was made from: a publisher's, or the user's own file if it is unchanged."""
    sidecar = read_record(sidecar_path(path), OnnxSidecar)
    model = find_network(sidecar.identity.network)
    if not sidecar.weights.is_local:
        checkpoint = sources.locate(model, sidecar.weights.source)
    else:
        own = Path(sidecar.checkpoint or sidecar.weights.origin)
        checkpoint = sources.own_checkpoint(model, own, entry=sidecar.weights.entry)
        if not own.is_file() or sha256_file(own) != sidecar.weights.sha256:
            change = "has changed" if own.is_file() else "does not exist"
            raise StoreError(
                f"{path} was made from {own}, which {change}, and the PyTorch runtime needs it. Restore it, or run: "
                f"trtzoo export {quote(sidecar.model)} --weights FILE --force"
            )
    network, record = weights.load(model, checkpoint, classes=sidecar.classes, size=sidecar.size)
    if record.sha256 != sidecar.weights.sha256:
        raise StoreError(f"{path} was made from other weights than {record.origin} has now. Run: trtzoo export {model.name}")
    return network
