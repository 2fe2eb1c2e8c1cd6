"""Time of `trtzoo table` and `trtzoo report` on a folder of 1,000 synthetic results, whole processes.

Usage: python benchmarks/report.py   (writes benchmarks/figures/report.md)
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path

from figures import write

from trtzoo.core.files import encode
from trtzoo.core.records import Case, Device, GoldenCheck, Result, Sample, Weights
from trtzoo.hardware.devices import slug
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.sources import PUBLISHERS
from trtzoo.models.table import MODELS

RESULTS, SAMPLES, ROUNDS = 1000, 300, 9
COMMANDS = (
    ["table", "--format", "md"],
    ["table", "--limits"],
    ["table", "--explain", "dpn131,fp16,b4,t4"],
    ["report", "--out", "page.html"],
)
"""Each runs in a folder with the results in benchmarks/."""

WEIGHTS = Weights(
    source="paddle", origin="synthetic", sha256="0" * 64, epsilon=1e-5, preprocessing=PUBLISHERS["paddle"].preprocessing
)


def results() -> list[Result]:
    """Ten networks, two precisions and four batch sizes on one GPU after another; latencies vary by a tenth."""
    chance = random.Random(0)
    known = [gpu for gpu in GPUS.values() if gpu.cards[0].fp32]
    grid = product(sorted(known, key=lambda gpu: gpu.name != "t4"), ("fp32", "fp16"), (1, 4, 8, 16), MODELS)
    made = []
    for gpu, precision, batch, model in islice(grid, RESULTS):
        name = gpu.names[0]
        device = Device(key=slug(name), name=name, kind="gpu", driver="570.00", sm=gpu.sm)
        case = Case(
            model=model,
            precision=precision,
            batch=batch,
            runtime="tensorrt",
            device=device.key,
            protocol="trtzoo",
            cuda_graph=True,
        )
        times = [MODELS[model].flops * batch / gpu.cards[0].fp32 * chance.uniform(2.0, 2.2) for _ in range(SAMPLES)]
        made.append(
            Result(
                case=case,
                device=device,
                versions={"tensorrt": "10.13.2"},
                io="fp32",
                weights=WEIGHTS,
                check=GoldenCheck(error=1e-6, tolerance=2e-5, images=batch),
                started="2026-11-24T00:00:00+00:00",
                samples=tuple(Sample(total=t, compute=0.9 * t, h2d=0.05 * t, d2h=0.01 * t, enqueue=0.2 * t) for t in times),
            )
        )
    return made


def seconds(command: list[str], folder: Path) -> list[float]:
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "trtzoo.cli", *command], cwd=folder, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for result in results():
            path = folder / "benchmarks" / result.device.key / f"{result.case.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(result))
        size = sum(path.stat().st_size for path in folder.glob("benchmarks/*/*.json"))
        for command in COMMANDS:
            taken = seconds(command, folder)
            cells = [f"{value:.2f} s" for value in (statistics.median(taken), max(taken))]
            rows.append([f"`trtzoo {' '.join(command)}`", *cells])
    note = f"{RESULTS:,} synthetic results of {SAMPLES} samples, {size / 2**20:.0f} MiB of JSON; {ROUNDS} processes each."
    write("report", ["", "median", "slowest"], rows, [note])


if __name__ == "__main__":
    main()
