"""The cost of measuring: the time of the loops alone, and trtzoo's latencies against three other tools.

The peers run on the same file and threads, one process each, in interleaved rounds: a bare loop over onnxruntime,
`polygraphy run --onnxrt`, and OpenVINO's `benchmark_app`. polygraphy reports a mean, so it is compared with trtzoo's mean; the
others are medians.
Usage: python benchmarks/overhead.py [--model densenet121] [--rounds N] [--seconds S]   (writes benchmarks/figures/overhead.md)
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from figures import write

from trtzoo.benchmark import loops
from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.files import read_record
from trtzoo.core.records import Result, Sample
from trtzoo.core.system import available_cores
from trtzoo.hardware.devices import cpu_device

POLYGRAPHY = "polygraphy==0.53.6"
SHAPE = "[1,3,224,224]"


# --- the loops alone ---


class Nothing:
    """A session whose inferences do nothing and report a nanosecond."""

    def __init__(self) -> None:
        self._sample, self._logits = Sample(total=1e-9, compute=1e-9), np.zeros((1, 1000), np.float32)

    def prepare(self, images: Any) -> Any:
        return images

    def infer(self, images: Any) -> Any:
        return self._logits

    def sample(self) -> Sample:
        return self._sample


def loop_cost(loop: Callable[..., list[Sample]], queries: int = 200_000) -> float:
    """Seconds of the loop alone for one sample: the median of nine runs."""
    protocol, images, taken = MeasurementProtocol("nothing", queries=queries), np.zeros((1, 3, 8, 8), np.float32), []
    for _ in range(9):
        start = time.perf_counter()
        samples = loop(Nothing(), protocol, images)
        taken.append((time.perf_counter() - start) / len(samples))
    return statistics.median(taken)


# --- whole processes: seconds of a query, as each tool reports it ---


def trtzoo(model: str, folder: Path, seconds: float, runtime: str) -> dict[str, float]:
    """The median and mean of `trtzoo bench`."""
    where = ["--onnx-dir", folder, "--results", folder / "results"]
    run("trtzoo.cli", "bench", model, "--gpu", "cpu", "--batch", 1, "--runtime", runtime, "--seconds", seconds, *where)
    path = folder / "results" / cpu_device().key / f"{model}-fp32-b1-{runtime}-trtzoo.json"
    result = read_record(path, Result)
    totals = [sample.total for sample in result.samples]
    return {"median": statistics.median(totals), "mean": statistics.fmean(totals)}


def bare_loop(onnx: Path, seconds: float) -> float:
    done = subprocess.run([sys.executable, __file__, "--bare", onnx, str(seconds)], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def bare(onnx: str, seconds: float) -> float:
    """The loop that a user would write; runs in a child process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.random.default_rng(0).random((1, 3, 224, 224), np.float32)}
    warm, taken = time.perf_counter() + 0.5, []
    while time.perf_counter() < warm:
        session.run(None, feed)
    while sum(taken) < seconds:
        start = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def polygraphy(onnx: Path, iterations: int, site: Path) -> float:
    options = ["--onnxrt", "--providers", "cpu", "--input-shapes", f"images:{SHAPE}", "--sequential-runners"]
    queries = ["--warm-up", "10", "--iterations", str(iterations)]
    command = [sys.executable, site / "bin" / "polygraphy", "run", onnx, *options, *queries]
    env = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return parsed(r"Average inference time: ([\d.]+) ms", done.stdout + done.stderr)


def benchmark_app(onnx: Path, seconds: float) -> float:
    """Seconds of benchmark_app. It takes a thread count only with `-hint none`; its default, one per core, is trtzoo's too."""
    options = ["-d", "CPU", "-hint", "latency", "-api", "sync", "-nireq", "1", "-infer_precision", "f32", "-shape", SHAPE]
    command = [Path(sys.executable).with_name("benchmark_app"), "-m", onnx, *options, "-t", str(round(seconds))]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if (threads := parsed(r"INFERENCE_NUM_THREADS: (\d+)", text) * 1e3) != available_cores():
        raise SystemExit(f"benchmark_app ran on {threads:.0f} threads and trtzoo on {available_cores()}")
    return parsed(r"Median:\s+([\d.]+) ms", text)


def parsed(pattern: str, text: str) -> float:
    """The milliseconds in a program's output, in seconds."""
    found = re.search(pattern, text)
    if not found:
        raise SystemExit(f"No match for {pattern!r} in:\n{text[-2000:]}")
    return float(found[1]) * 1e-3


def run(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, capture_output=True)


Take = Callable[[], Any]


def ways(model: str, folder: Path, seconds: float) -> dict[str, Take]:
    """All measurements of a round, each next to the one it is compared with."""
    onnx = folder / f"{model}-fp32.onnx"
    iterations = round(seconds / trtzoo(model, folder, seconds, "onnxruntime")["median"])
    return {
        "bare loop": lambda: bare_loop(onnx, seconds),
        "onnxruntime": lambda: trtzoo(model, folder, seconds, "onnxruntime"),
        "polygraphy": lambda: polygraphy(onnx, iterations, folder / "site"),
        "benchmark_app": lambda: benchmark_app(onnx, seconds),
        "openvino": lambda: trtzoo(model, folder, seconds, "openvino"),
    }


COMPARISONS = (
    ("a bare loop over onnxruntime", "onnxruntime", "median", "bare loop"),
    ("`polygraphy run --onnxrt`", "onnxruntime", "mean", "polygraphy"),
    ("OpenVINO's `benchmark_app`", "openvino", "median", "benchmark_app"),
)
"""Title, trtzoo's runtime, the statistic, and the peer's measurement."""


def measure(model: str, folder: Path, rounds: int, seconds: float) -> list[list[str]]:
    """One row of the figure for each comparison. Every second round runs in reverse order."""
    takes, seen = ways(model, folder, seconds), []
    for turn in range(rounds):
        order = list(takes)[:: 1 if turn % 2 == 0 else -1]
        seen.append({name: takes[name]() for name in order})
    rows = []
    for title, runtime, statistic, other in COMPARISONS:
        pairs = [(taken[runtime][statistic], taken[other]) for taken in seen]
        ratios = sorted(mine / theirs for mine, theirs in pairs)
        milliseconds = [f"{statistics.median(column) * 1e3:.2f}" for column in zip(*pairs, strict=True)]
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
        rows.append([f"{title}, {statistic}", *milliseconds, f"{statistics.median(ratios):.3f}", spread])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bare", nargs=2)
    parser.add_argument("--model", default="densenet121")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(bare(options.bare[0], float(options.bare[1]))))
        return
    costs = {loop.__name__: loop_cost(loop) * 1e6 for loop in (loops.steady, loops.fresh_inputs)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run("pip", "install", "--quiet", "--no-deps", "--target", folder / "site", POLYGRAPHY)
        run("trtzoo.cli", "export", options.model, "--weights", "seeded", "--onnx-dir", folder)
        rows = measure(options.model, folder, options.rounds, options.seconds)
    own = " and ".join(f"{cost:.2f} µs ({name})" for name, cost in costs.items())
    notes = [
        f"Time of the loop alone for one sample, with a runtime that does nothing: {own}. {options.model}, FP32, batch 1, "
        f"{options.rounds} interleaved rounds of {options.seconds:.0f} s. Ratios are trtzoo / peer."
    ]
    write("overhead", ["ms", "trtzoo", "peer", "ratio, median", "ratio, range"], rows, notes)


if __name__ == "__main__":
    main()
