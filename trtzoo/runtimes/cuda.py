"""CUDA as an engine's session needs it: memory, streams and events are PyCUDA's, graphs are the driver's.

PyCUDA has no graphs, so those few functions are called by name, as every driver since CUDA 11.4 has them. Nothing here
touches stream 0 or makes a context of its own: torch and TensorRT use the primary one too.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import byref, c_int, c_ulonglong, c_void_p
from typing import Any, NamedTuple

import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError, RunError

try:
    import pycuda
    import pycuda.driver

    drv: Any = pycuda.driver
    _driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
except (ImportError, OSError) as missing:
    raise MachineError(
        f"Running engines takes an NVIDIA driver and PyCUDA, and one of them is not here ({missing}). "
        f"On a machine with an NVIDIA GPU: pip install 'trtzoo[gpu]'"
    ) from missing

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no order with stream 0
THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do does not end a capture


class CudaGpu(NamedTuple):
    """A device as the driver tells it; `l2` in bytes."""

    name: str
    sm: int
    l2: int


def versions() -> dict[str, str]:
    number = drv.get_driver_version()
    return {"pycuda": pycuda.VERSION_TEXT, "driver": f"CUDA {number // 1000}.{number % 1000 // 10}"}


def explained(error: Exception, doing: str) -> Exception:
    """PyCUDA's error as one of ours, in the driver's words: MemoryError, or RunError."""
    kind = MemoryError if isinstance(error, drv.MemoryError) else RunError
    return kind(f"{doing}: {error}")


@contextmanager
def primary_context(ordinal: int) -> Iterator[CudaGpu]:
    """Make the device's primary context current, and at the end what was current before. They nest.

    Raises MachineError where there is no such device.
    """
    try:
        drv.init()
        device = drv.Device(ordinal)
    except drv.Error as error:
        raise MachineError(f"The NVIDIA driver has no device {ordinal} for us: {error}") from error
    context = device.retain_primary_context()
    try:
        context.push()
        try:
            yield _describe(device)
        finally:
            with suppress(drv.Error):  # after a failure of the device nothing more can be asked of it
                drv.Context.pop()
    finally:
        context.detach()
        _driver.cuCtxPopCurrent_v2(byref(c_void_p()))  # PyCUDA's detach leaves it on the driver's stack


def _describe(device: Any) -> CudaGpu:
    major, minor = device.compute_capability()
    return CudaGpu(device.name(), 10 * major + minor, device.get_attribute(drv.device_attribute.L2_CACHE_SIZE))


def host(shape: tuple[int, ...], dtype: Any, *, pinned: bool) -> Array:
    """An array for copies to or from the device; pinned, it is copied by the device itself, without the processor."""
    make = drv.pagelocked_empty if pinned else np.empty
    return np.asarray(make(shape, dtype))


class CudaGraph:
    """What `work` enqueues on the stream (its handle), launched again with one call.

    Raises RunError where the driver, or something in the work, does not allow a capture; the stream is then as it was.
    """

    def __init__(self, stream: int, work: Callable[[], None]) -> None:
        self._stream, self._graph = c_void_p(stream), c_void_p()
        captured = c_void_p()
        _call("cuStreamBeginCapture_v2", self._stream, c_int(THREAD_LOCAL))
        try:
            try:
                work()
            except BaseException:
                _driver.cuStreamEndCapture(self._stream, byref(captured))
                raise
            _call("cuStreamEndCapture", self._stream, byref(captured))
            _call("cuGraphInstantiateWithFlags", byref(self._graph), captured, c_ulonglong(0))
        finally:
            if captured:
                _driver.cuGraphDestroy(captured)

    def launch(self) -> None:
        if status := _driver.cuGraphLaunch(self._graph, self._stream):
            raise _failure("cuGraphLaunch", status)

    def close(self) -> None:
        _driver.cuGraphExecDestroy(self._graph)


def _call(name: str, *arguments: Any) -> None:
    function = getattr(_driver, name, None)
    if function is None:
        raise RunError(f"this NVIDIA driver has no {name}")
    if status := function(*arguments):
        raise _failure(name, status)


def _failure(name: str, status: int) -> RunError:
    text = ctypes.c_char_p()
    _driver.cuGetErrorString(status, byref(text))
    return RunError(f"{name} failed: {text.value.decode() if text.value else f'error {status}'}")
