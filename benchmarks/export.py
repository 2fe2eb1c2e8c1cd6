"""Export speed: trtzoo against torch.onnx.export(dynamo=True) in interleaved rounds, and `trtzoo export --all`.

Both start from the same network in memory and end with a file on disk. trtzoo's time includes onnx's full check.
Usage: python benchmarks/export.py [--rounds N]   (writes benchmarks/figures/export.md and exactness.md)
"""

import argparse
import contextlib
import io
import logging
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from figures import write

from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar
from trtzoo.core.files import read_record
from trtzoo.exporter import fx_to_onnx
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, build_network, find_model


def ours(network: torch.nn.Module, path: Path) -> float:
    path.unlink(missing_ok=True)
    os.sync()  # so that earlier writes do not disturb the timing
    start = time.perf_counter()
    fx_to_onnx.translate(network, ExportOrder(model="benchmark", precision="fp32")).write(path)
    return time.perf_counter() - start


def theirs(network: torch.nn.Module, path: Path) -> float:
    path.unlink(missing_ok=True)
    os.sync()  # so that earlier writes do not disturb the timing
    images = torch.zeros(1, 3, 224, 224)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(network, (images,), path, dynamo=True, external_data=False, verbose=False)
    return time.perf_counter() - start


def compare(name: str, rounds: int) -> list[str]:
    """One network's row. Runs in a process of its own."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        return _compare(name, rounds, Path(folder))


def _compare(name: str, rounds: int, folder: Path) -> list[str]:
    network = seed(build_network(find_model(name), device="meta"))
    ours(network, folder / "warm.onnx")
    pairs = [(ours(network, folder / "a.onnx"), theirs(network, folder / "b.onnx")) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        name,
        f"{mine:.2f} s",
        f"{other:.1f} s",
        f"{statistics.median(ratios):.0f}x",
        f"{ratios[0]:.0f} to {ratios[-1]:.0f}",
    ]


def zoo(folder: Path) -> tuple[float, float]:
    """Seconds and peak GiB of the command that exports all networks, with its checks."""
    command = [sys.executable, "-m", "trtzoo.cli", "export", "--all", "--weights", "seeded", "--precision", "fp32,fp16"]
    start = time.perf_counter()
    subprocess.run([*command, "--onnx-dir", str(folder)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def exactness(folder: Path) -> None:
    """Write the errors in the sidecars as a second figure."""
    rows = []
    for name in MODELS:
        paths = [folder / f"{name}-{kind}.json" for kind in ("fp32", "fp16")]
        rows.append([name, *(f"{read_record(p, OnnxSidecar).check.error:.1e}" for p in paths)])
    note = (
        "max|logit - reference| / max|reference| over the golden sample: ONNX Runtime against PyTorch float64, seeded weights."
    )
    write("exactness", ["", "FP32", "FP16"], rows, [note], script="export")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak = zoo(Path(folder))
        exactness(Path(folder))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = pool.starmap(compare, [(name, rounds) for name in MODELS], chunksize=1)
    heads = ["", "trtzoo", "torch.onnx.export(dynamo=True)", "ratio, median", "ratio, range"]
    notes = [
        f"From the network in memory to a file, {rounds} interleaved rounds, torch {torch.__version__}.",
        f"`trtzoo export --all`, FP32 and FP16, with seeded weights and every check against float64: **{seconds:.0f} s**, "
        f"peak {peak:.1f} GiB, {os.cpu_count()} cores.",
    ]
    write("export", heads, rows, notes)


if __name__ == "__main__":
    main()
