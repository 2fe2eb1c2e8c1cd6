"""This processor's float32 matrix product, in FLOP/s: what a latency on it is held against.

Run as `python -m trtzoo.hardware.cpu_peak THREADS`: the rate on stdout, by PyTorch, the best of many.
"""

import importlib
import math
import subprocess
import sys
import time

SIZE, ROUNDS = 2048, 30


def measure_peak(threads: int) -> float:
    """The rate, measured in a process of its own; 0 where it cannot be."""
    command = [sys.executable, "-m", "trtzoo.hardware.cpu_peak", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else 0.0


def main() -> None:
    torch = importlib.import_module("torch")
    torch.set_num_threads(int(sys.argv[1]))
    left, right = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    best = math.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    print(2 * SIZE**3 / best)


if __name__ == "__main__":
    main()
