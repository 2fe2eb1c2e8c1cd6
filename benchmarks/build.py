"""Build speed: sixty T4 engines with `trtzoo build`, a second run with nothing to do, and twelve engines against peers.

A peer runs two processes for each of twelve cases: one loads the weights and calls torch.onnx.export, the next is an ordinary
TensorRT-RTX build script. trtzoo runs its two commands on the same weight files. Both build for an A10, because the peers'
Linear layer becomes a Gemm, which TensorRT-RTX cannot build in FP32 for a T4.
Usage: python benchmarks/build.py [--rounds N]   (writes benchmarks/figures/build.md; takes 8 GB of disk and ten minutes)
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from figures import write

from trtzoo.models.seeded import seed
from trtzoo.models.table import build_network, find_model

NAMES, PRECISIONS, BATCHES = ("densenet121", "dpn68"), ("fp32", "fp16"), (1, 4, 8)
TRTZOO = [sys.executable, "-m", "trtzoo.cli"]

EXPORT = """
import sys, torch
from trtzoo.models import build_network, find_model
name, weights, precision, batch, onnx, dynamo = sys.argv[1:]
network = build_network(find_model(name))
network.load_state_dict(torch.load(weights))
images = torch.zeros(int(batch), 3, 224, 224)
if precision == "fp16":
    network, images = network.half(), images.half()
torch.onnx.export(network, (images,), onnx, dynamo=dynamo == "True", external_data=False)
"""
BUILD = """
import sys, tensorrt_rtx as trt
onnx, engine = sys.argv[1:]
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(onnx)
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM86, 0)
plan = builder.build_serialized_network(network, config)
assert plan is not None
with open(engine, "wb") as file:
    file.write(plan)
"""


def quietly(*command: object) -> float:
    """Run a command and return its seconds. Its output is shown only if it fails."""
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return time.perf_counter() - start


def peers(weights: dict[str, Path], folder: Path, *, dynamo: bool) -> float:
    onnx, engine = folder / "peer.onnx", folder / "peer.engine"
    total = 0.0
    for name in NAMES:
        for precision in PRECISIONS:
            for batch in BATCHES:
                total += quietly(sys.executable, "-c", EXPORT, name, weights[name], precision, batch, onnx, dynamo)
                total += quietly(sys.executable, "-c", BUILD, onnx, engine)
    return total


def ours(weights: dict[str, Path], folder: Path) -> float:
    graphs = ["--onnx-dir", folder / "onnx"]
    total = sum(
        quietly(*TRTZOO, "export", name, "--weights", weights[name], "--precision", "fp32,fp16", "--force", *graphs)
        for name in NAMES
    )
    options = ["--precision", "fp32,fp16", "--gpu", "a10", "--flavour", "rtx", "--jobs", "2", "--force"]
    return total + quietly(*TRTZOO, "build", *NAMES, *options, *graphs, "--engines-dir", folder / "engines")


def sixty(folder: Path) -> tuple[float, float, float, float]:
    """Seconds of the first and of the second run, peak MiB of a builder, GB of engines. Exporting the graphs is not timed."""
    graphs = ["--precision", "fp32,fp16", "--onnx-dir", folder / "onnx"]
    quietly(*TRTZOO, "export", "--all", "--weights", "seeded", *graphs)
    command = [*TRTZOO, "build", *graphs, "--gpu", "t4", "--flavour", "rtx", "--jobs", "2", "--engines-dir", folder / "engines"]
    first, second = quietly(*command), quietly(*command)
    sidecars = [json.loads(path.read_text()) for path in (folder / "engines").rglob("*.json")]
    assert len(sidecars) == 60
    return first, second, max(each["peak_memory"] for each in sidecars) / 2**20, sum(each["bytes"] for each in sidecars) / 1e9


def compare(theirs: list[float], mine: list[float]) -> list[str]:
    ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
    medians = f"{statistics.median(theirs):.0f} s", f"{statistics.median(ratios):.1f}x"
    return [*medians, f"{min(ratios):.1f} to {max(ratios):.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        first, second, peak, size = sixty(Path(name))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = {model: folder / f"{model}.pth" for model in NAMES}
        for model, path in weights.items():
            torch.save(seed(build_network(find_model(model), device="meta")).state_dict(), path)
        runs = [
            (ours(weights, folder), peers(weights, folder, dynamo=True), peers(weights, folder, dynamo=False))
            for _ in range(rounds)
        ]
    mine, modern, legacy = (list(column) for column in zip(*runs, strict=True))
    rows = [
        ["trtzoo export, trtzoo build --jobs 2", f"{statistics.median(mine):.1f} s", "", ""],
        ["torch.onnx.export, then a build script", *compare(modern, mine)],
        ["torch.onnx.export(dynamo=False), then a build script", *compare(legacy, mine)],
    ]
    notes = [
        f"Twelve engines for an A10 (densenet121 and dpn68, FP32 and FP16, batch 1, 4, 8) from weight files, {rounds} "
        "interleaved rounds. trtzoo's time includes its check against float64; the peers check nothing.",
        f"Sixty T4 engines from exported graphs, two builders: **{first:.0f} s**, {size:.1f} GB, at most {peak:.0f} MiB per "
        f"process. A second run, which has nothing to do: **{second:.1f} s**.",
    ]
    write("build", ["twelve engines", "seconds, median", "ratio, median", "ratio, range"], rows, notes)


if __name__ == "__main__":
    main()
