"""Time of commands that compute nothing, whole processes.

Usage: python benchmarks/startup.py   (writes benchmarks/figures/startup.md)
"""

import statistics
import subprocess
import sys
import time

from figures import write

COMMANDS = (["--help"], ["export", "--help"], ["models"], ["table", "--format", "md"], ["doctor"])
ROUNDS = 15


def seconds(command: list[str]) -> list[float]:
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "trtzoo.cli", *command], check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def main() -> None:
    rows = []
    for command in COMMANDS:
        taken = seconds(command)
        row = [f"`trtzoo {' '.join(command)}`", *(f"{value:.2f} s" for value in (statistics.median(taken), max(taken)))]
        rows.append(row)
    write("startup", ["", "median", "slowest"], rows, [f"{ROUNDS} processes each."])


if __name__ == "__main__":
    main()
