"""This processor's peak in float32, in FLOP/s, that latencies are compared with: the best of what every library reaches.

One library does not do: PyTorch's matrix product is slow on some makers' processors. Matrix products and 1x1 convolutions that
stay in the caches run in turns. A turn in which other programs had the cores does not count, if enough others do. A peak that
was measured in quiet is kept for a week in the user's cache.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trtzoo.core.errors import StoreError
from trtzoo.core.files import cache_folder, read_record, write_record
from trtzoo.core.records import SCHEMA, CpuPeak, Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child, serve
from trtzoo.hardware.devices import cpu_device
from trtzoo.hardware.other_load import OtherLoad

TURNS, SHARE, WAIT = 5, 0.03, 5.0  # turns that count; seconds of a kernel's share of a turn; seconds to wait for quiet ones
MATRICES, CONVOLUTIONS = (512, 1024), ((256, 28), (512, 28))  # sides; channels and sides

LIBRARIES = ("numpy", "torch", "onnxruntime", "openvino")
AGE = 7 * 24 * 3600  # seconds for which a peak is kept

Kernel = tuple[str, int, Callable[[], object]]  # name, FLOPs, a function that computes once


class KeptPeak(Record, frozen=True, kw_only=True):
    """A peak in the user's cache."""

    schema: int = SCHEMA
    peak: CpuPeak


def find_peak(threads: int) -> CpuPeak | None:
    """The peak on `threads` threads, as it was measured in quiet with these libraries, or as it is measured now."""
    path = peak_path(threads)
    with suppress(OSError, StoreError):
        if 0 <= time.time() - path.stat().st_mtime < AGE:
            return read_record(path, KeptPeak).peak
    peak = measure_peak(threads)
    if peak and peak.is_quiet:
        with suppress(OSError, StoreError):  # the cache is no reason to fail
            write_record(path, KeptPeak(peak=peak))
    return peak


def peak_path(threads: int) -> Path:
    """The file in the user's cache for this processor, this number of threads, and the libraries' versions."""
    versions = "-".join(_version(name) for name in LIBRARIES)
    return cache_folder() / "cpu-peak" / f"{cpu_device().key}-{threads}-{versions}.json"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def measure_peak(threads: int) -> CpuPeak | None:
    """The peak on `threads` threads, measured in a child process; None if it cannot be measured."""
    try:
        return run_child(module_command("trtzoo.hardware.cpu_peak"), threads, answer=CpuPeak)
    except ChildError:
        return None


def _measure(threads: int) -> CpuPeak:
    if threads < 1:
        raise ValueError(f"{threads} threads")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)  # before NumPy loads
    kernels = list(_kernels(threads))
    return _best(kernels, threads)


def _best(kernels: list[Kernel], threads: int) -> CpuPeak:
    """Run all kernels in turns, and report the fastest one."""
    turns: list[tuple[float, dict[str, float]]] = []  # other programs' cores, and each kernel's rate
    end = time.monotonic() + WAIT
    while len(turns) < TURNS or (time.monotonic() < end and sum(_is_quiet(load, threads) for load, _ in turns) < TURNS):
        with OtherLoad() as others:
            rates = {name: flops / _fastest(run) for name, flops, run in kernels}
        turns.append((others.cores, rates))
    chosen = sorted(turns, key=lambda turn: turn[0])[:TURNS]
    rate, kernel = max((rate, name) for _, rates in chosen for name, rate in rates.items())
    lowest = min(max(rates.values()) for _, rates in chosen)
    return CpuPeak(rate=rate, low=lowest, kernel=kernel, turns=TURNS, threads=threads, other_load=chosen[-1][0])


def _is_quiet(load: float, threads: int) -> bool:
    return CpuPeak(rate=1e9, low=1e9, kernel="", turns=1, threads=threads, other_load=load).is_quiet


def _fastest(run: Callable[[], object]) -> float:
    """The shortest of the times of as many runs as fit into a share of a turn."""
    best, end = float("inf"), time.perf_counter() + SHARE
    while (start := time.perf_counter()) < end:
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _kernels(threads: int) -> Iterator[Kernel]:
    """The kernels of the libraries that are installed, each after its first runs."""
    for source in (_numpy, _torch, _onnxruntime, _openvino):
        with suppress(ImportError):
            for kernel in source(threads):
                kernel[2]()
                yield kernel


def _numpy(threads: int) -> Iterator[Kernel]:
    import numpy as np

    for side in MATRICES:
        left, right, out = (np.ones((side, side), np.float32) for _ in range(3))
        yield f"NumPy's product of {side} x {side}", 2 * side**3, partial(np.matmul, left, right, out=out)


def _torch(threads: int) -> Iterator[Kernel]:
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    for side in MATRICES:
        left, right, out = (torch.ones(side, side) for _ in range(3))
        yield f"PyTorch's product of {side} x {side}", 2 * side**3, partial(torch.mm, left, right, out=out)
    for channels, side in CONVOLUTIONS:
        images, weights = torch.ones(1, channels, side, side), torch.ones(channels, channels, 1, 1)
        yield f"PyTorch's convolution of {channels} channels", _flops(channels, side), partial(torch.conv2d, images, weights)


def _onnxruntime(threads: int) -> Iterator[Kernel]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for channels, side in CONVOLUTIONS:
        graph = _convolution(channels, side)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        feed = {"images": np.ones((1, channels, side, side), np.float32)}
        yield f"ONNX Runtime's convolution of {channels} channels", _flops(channels, side), partial(session.run, None, feed)


def _openvino(threads: int) -> Iterator[Kernel]:
    import openvino

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    for channels, side in CONVOLUTIONS:
        core = openvino.Core()
        request = core.compile_model(core.read_model(_convolution(channels, side)), "CPU", options).create_infer_request()
        yield f"OpenVINO's convolution of {channels} channels", _flops(channels, side), request.infer


def _flops(channels: int, side: int) -> int:
    return 2 * channels**2 * side**2


def _convolution(channels: int, side: int) -> bytes:
    """An ONNX file with one 1x1 convolution of one image."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    shape: Any = [1, channels, side, side]
    images, features = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "features"))
    weight = numpy_helper.from_array(np.full((channels, channels, 1, 1), 1 / channels, np.float32), "weight")
    node = helper.make_node("Conv", ["images", "weight"], ["features"])
    graph = helper.make_graph([node], "convolution", [images], [features], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    serve(int, lambda threads, report, stopped: _measure(threads))
