"""CUDA for an engine's session: PyCUDA's memory, streams and events, and the driver's graphs.

PyCUDA has no graphs, so this module calls the driver's functions for them, which exist since CUDA 11.4. It uses the primary
context, as torch and TensorRT do, and never stream 0.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import byref, c_int, c_ulonglong, c_void_p
from typing import Any

from trtzoo.core.errors import MachineError, RunError

try:
    import pycuda
    import pycuda.driver

    drv: Any = pycuda.driver
    _driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
except (ImportError, OSError) as missing:
    raise MachineError(
        f"Running engines requires an NVIDIA driver and PyCUDA, and one of them is missing ({missing}). "
        "On a machine with an NVIDIA GPU: trtzoo setup"
    ) from missing

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no synchronization with stream 0
EVENT_FLAGS = {"spin": 0, "block": 1}  # CU_EVENT_DEFAULT, CU_EVENT_BLOCKING_SYNC
THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads' calls do not end a capture


def versions() -> dict[str, str]:
    number = drv.get_driver_version()
    return {"pycuda": pycuda.VERSION_TEXT, "driver": f"CUDA {number // 1000}.{number % 1000 // 10}"}


@contextmanager
def translated_errors(prefix: str) -> Iterator[None]:
    """Raise PyCUDA's errors as a MemoryError or RunError with the driver's message."""
    try:
        yield
    except drv.Error as error:
        kind = MemoryError if isinstance(error, drv.MemoryError) else RunError
        raise kind(f"{prefix}: {error}") from error


@contextmanager
def primary_context(ordinal: int) -> Iterator[Any]:
    """The device, with its primary context current until the end. Contexts nest. Raises MachineError for a missing device."""
    try:
        drv.init()
        device = drv.Device(ordinal)
    except drv.Error as error:
        raise MachineError(f"The NVIDIA driver cannot open device {ordinal}: {error}") from error
    context = device.retain_primary_context()
    try:
        context.push()
        try:
            yield device
        finally:
            with suppress(drv.Error):  # after a device failure, no call succeeds
                drv.Context.pop()
    finally:
        context.detach()
        _driver.cuCtxPopCurrent_v2(byref(c_void_p()))  # PyCUDA's detach leaves the context on the driver's stack


@contextmanager
def captured_graph(handle: int, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """A function that launches a graph of the work that `work` enqueues on a stream, given by its handle.

    Raises RunError if the driver or a call in `work` does not allow the capture; the stream is then unchanged.
    """
    stream, captured, graph = c_void_p(handle), c_void_p(), c_void_p()
    _call("cuStreamBeginCapture_v2", stream, c_int(THREAD_LOCAL))
    try:
        try:
            work()
        except BaseException:
            _driver.cuStreamEndCapture(stream, byref(captured))
            raise
        _call("cuStreamEndCapture", stream, byref(captured))
        _call("cuGraphInstantiateWithFlags", byref(graph), captured, c_ulonglong(0))
    finally:
        if captured:
            _driver.cuGraphDestroy(captured)
    try:
        yield lambda: _check("cuGraphLaunch", _driver.cuGraphLaunch(graph, stream))
    finally:
        _driver.cuGraphExecDestroy(graph)


def _call(name: str, *arguments: Any) -> None:
    function = getattr(_driver, name, None)
    if function is None:
        raise RunError(f"this NVIDIA driver has no {name}")
    _check(name, function(*arguments))


def _check(name: str, status: int) -> None:
    if status:
        text = ctypes.c_char_p()
        _driver.cuGetErrorString(status, byref(text))
        raise RunError(f"{name} failed: {text.value.decode() if text.value else f'error {status}'}")
