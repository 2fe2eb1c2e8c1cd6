"""Fills the README's marked blocks: help texts from the program, figures from benchmarks/figures. `--check` only compares.

A block stands between `<!-- begin: KIND NAME -->` and `<!-- end -->`. The kinds are KINDS.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from trtzoo.hardware.gpus import support_table

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(<!-- begin: (\w+) ?([\w-]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def help_text(command: str) -> str:
    """What `trtzoo COMMAND --help` prints, 100 columns wide."""
    words = [sys.executable, "-m", "trtzoo.cli", *([command] if command else []), "--help"]
    plain = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    text = subprocess.run(words, capture_output=True, text=True, check=True, env=plain, cwd=ROOT).stdout
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "```\n" + "\n".join([f"$ trtzoo {command} --help".replace("  ", " "), *lines]) + "\n```\n"


def figure(name: str) -> str:
    return (ROOT / "benchmarks" / "figures" / f"{name}.md").read_text()


def latency(precision: str) -> str:
    """One precision's table of benchmarks/figures/table.md, without its heading."""
    sections = figure("table").split("### ")
    (found,) = [text for text in sections if text.startswith(f"Latency in ms, {precision.upper()},")]
    return found.split("\n\n", 1)[1]


def gpu_table(_: str) -> str:
    """What works on which GPU, from the rows of gpus.py."""
    heads = ("GPU", "", "TensorRT, on that GPU", "TensorRT-RTX, ahead of time")
    return "".join("| " + " | ".join(row) + " |\n" for row in (heads, ("---",) * 4, *support_table()))


KINDS = {"help": help_text, "figure": figure, "latency": latency, "gpus": gpu_table}


def main() -> int:
    path = ROOT / "README.md"
    text = path.read_text()
    fresh = BLOCK.sub(lambda found: found[1] + KINDS[found[2]](found[3]) + found[4], text)
    if fresh == text:
        return 0
    if "--check" in sys.argv:
        print("README.md is out of date. Run: python benchmarks/readme.py")
        return 1
    path.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
