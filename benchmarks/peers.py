"""trtzoo's default on a processor against the usual code for each framework: ten models, batch 1, 4, 8, one process per case.

All networks have the same seeded weights and thread count. Peers are interleaved cell by cell; a cell is the median of its
rounds' medians. The peers' files come from torch.onnx.export(dynamo=True).
Usage: python benchmarks/peers.py [--models dpn68,…] [--batches 1,4,8] [--peers NAME,…] [--rounds N] [--seconds S]
(writes benchmarks/figures/peers.md; about an hour and a half on two cores)
"""

import argparse
import contextlib
import io
import json
import logging
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import write

from trtzoo.core.modules import resolve
from trtzoo.core.system import available_cores
from trtzoo.hardware.cpu_peak import measure_peak
from trtzoo.models.table import MODELS, build_network, find_model
from trtzoo.report.results import load_results
from trtzoo.runtimes.registry import RUNTIMES

Run = Callable[[], Any]
THREADS = available_cores()


def images(batch: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((batch, 3, 224, 224), np.float32)


def trtzoo(name: str, batch: int, folder: Path) -> Run:
    """The runtime that `trtzoo bench --runtime auto` chose for this cell."""
    chosen = (folder / f"{name}-b{batch}.chosen").read_text()
    session = resolve(RUNTIMES[chosen].opener)(folder / "ours" / f"{name}-fp32.onnx", batch=batch)
    session.infer(images(batch))
    return session.sample  # type: ignore[no-any-return]


def choose(names: list[str], batches: str, folder: Path) -> None:
    """Measure every cell with `trtzoo bench` and record the runtime it chose."""
    words = [
        "bench",
        *names,
        "--gpu",
        "cpu",
        "--batch",
        batches,
        "--onnx-dir",
        folder / "ours",
        "--results",
        folder / "results",
    ]
    subprocess.run([sys.executable, "-m", "trtzoo.cli", *map(str, words)], check=True, capture_output=True)
    for result in load_results(folder / "results")[0]:
        (folder / f"{result.case.model}-b{result.case.batch}.chosen").write_text(result.case.runtime)


def onnxruntime_export(name: str, batch: int, folder: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images(batch)}
    return lambda: session.run(None, feed)


def openvino_export(name: str, batch: int, folder: Path) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(folder / f"{name}.onnx")
    model.reshape([batch, 3, 224, 224])
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(images(batch)))
    return request.infer


def _torch(name: str, batch: int, change: Callable[[Any], Any], layout: str = "contiguous_format") -> Run:
    import torch

    from trtzoo.models.seeded import seed

    torch.set_num_threads(THREADS)
    network = change(seed(build_network(find_model(name), device="meta")).to(memory_format=getattr(torch, layout)))
    inputs = torch.from_numpy(images(batch)).to(memory_format=getattr(torch, layout))

    def run() -> Any:
        with torch.inference_mode():
            return network(inputs)

    return run


def torch_eager(name: str, batch: int, folder: Path) -> Run:
    return _torch(name, batch, lambda network: network)


def torch_channels_last(name: str, batch: int, folder: Path) -> Run:
    return _torch(name, batch, lambda network: network, "channels_last")


def torch_compile(name: str, batch: int, folder: Path) -> Run:
    import torch

    return _torch(name, batch, torch.compile)


PEERS: dict[str, Callable[[str, int, Path], Run]] = {
    "trtzoo": trtzoo,
    "onnxruntime": onnxruntime_export,
    "openvino": openvino_export,
    "torch.compile": torch_compile,
    "torch channels_last": torch_channels_last,
    "torch eager": torch_eager,
}


def one(peer: str, name: str, batch: int, folder: Path, seconds: float) -> None:
    """Print the median seconds of one peer and case; runs in a child process."""
    run = PEERS[peer](name, batch, folder)
    for _ in range(3):
        run()
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < seconds:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(taken)))


def ask(peer: str, name: str, batch: int, folder: Path, seconds: float) -> float:
    command = [sys.executable, __file__, "--one", peer, name, str(batch), str(folder), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def export(names: list[str], folder: Path) -> None:
    """Write trtzoo's and the peers' ONNX files."""
    import torch

    from trtzoo.models.seeded import seed

    ours = [sys.executable, "-m", "trtzoo.cli", "export", *names, "--weights", "seeded", "--onnx-dir", str(folder / "ours")]
    subprocess.run(ours, check=True, capture_output=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for name in names:
        network = seed(build_network(find_model(name), device="meta"))
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                network,
                (torch.zeros(2, 3, 224, 224),),
                folder / f"{name}.onnx",
                dynamo=True,
                external_data=False,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )


def measured(peers: list[str], name: str, batch: int, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The median of each peer's rounds. A peer 25 % slower than the best in the first round gets no other."""
    taken: dict[str, list[float]] = {peer: [] for peer in peers}
    still = peers
    for _ in range(options.rounds):
        for peer in still:
            taken[peer].append(ask(peer, name, batch, folder, options.seconds))
        best = min(map(statistics.median, taken.values()))
        still = [peer for peer in peers if peer == "trtzoo" or statistics.median(taken[peer]) < 1.25 * best]
    return {peer: statistics.median(values) for peer, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", nargs=5)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batches", default="1,4,8")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    if options.one:
        peer, name, batch, folder, seconds = options.one
        one(peer, name, int(batch), Path(folder), float(seconds))
        return
    names, peers = options.models.split(","), options.peers.split(",")
    rows, ratios, rate = [], [], measure_peak(THREADS) or math.nan
    with tempfile.TemporaryDirectory() as folder:
        export(names, Path(folder))
        choose(names, options.batches, Path(folder))
        for name in names:
            for batch in map(int, options.batches.split(",")):
                cells = measured(peers, name, batch, Path(folder), options)
                chosen = (Path(folder) / f"{name}-b{batch}.chosen").read_text()
                best = min((p for p in peers if p != "trtzoo"), key=cells.__getitem__)
                ratios.append({p: cells[p] / cells["trtzoo"] for p in peers})
                share = find_model(name).flops * batch / cells["trtzoo"] / rate
                row = [
                    f"{name} b{batch}, {chosen}",
                    *(f"{cells[p] * 1e3:.1f}" for p in peers),
                    f"{cells[best] / cells['trtzoo']:.2f} ({best})",
                ]
                rows.append([*row, f"{share:.0%}"])
                print(" | ".join(rows[-1]), flush=True)
    means = {p: math.exp(statistics.fmean(math.log(r[p]) for r in ratios)) for p in peers}
    rows.append(["**geometric mean of peer / trtzoo**", *(f"{means[p]:.2f}" for p in peers), "", ""])
    heads = ["ms", *peers, "best peer / trtzoo", "of sgemm"]
    notes = [
        f"Median of {options.rounds} interleaved rounds (one for a peer 25 % slower than the best), one process per case,",
        f"{THREADS} threads. trtzoo uses the runtime that its trial chose. sgemm is torch's: {rate / 1e9:.0f} GFLOP/s.",
    ]
    write("peers", heads, rows, notes)


if __name__ == "__main__":
    main()
