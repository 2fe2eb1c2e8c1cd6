"""Train two networks on handwritten digits, then export, evaluate and compare them with PyTorch by the command line.

Usage: python benchmarks/digits.py [DIR]   (writes benchmarks/figures/digits.md; DIR keeps checkpoints, images and graphs)
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import write

from trtzoo.accuracy.records import Evaluation, load_evaluations

TRAIN = Path(__file__).parents[1] / "tests" / "digits.py"
MODELS = ("densenet121", "dpn68")
FILES = (
    ("pytorch", "fp32", "PyTorch, FP32"),
    ("onnxruntime", "fp32", "ONNX Runtime, FP32"),
    ("onnxruntime", "fp16", "ONNX Runtime, FP16"),
)
DATA = ("--data", "digits", "--gpu", "cpu")


def trtzoo(folder: Path, *arguments: object) -> str:
    """Run a command and return its stdout. A failure ends the benchmark with the command's output."""
    line = [sys.executable, "-m", "trtzoo.cli", *map(str, arguments)]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"trtzoo {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout


def evaluated(folder: Path) -> dict[tuple[str, str, str], Evaluation]:
    for name in MODELS:
        size = ("--classes", 10, "--input-size", 32)
        trtzoo(folder, "export", name, "--weights", f"{name}.pth", *size, "--precision", "fp32,fp16")
    for runtime, kinds in (("pytorch", "fp32"), ("onnxruntime", "fp32,fp16")):
        trtzoo(folder, "eval", *MODELS, *DATA, "--runtime", runtime, "--precision", kinds)
    found = load_evaluations(folder / "benchmarks")[0]
    return {(row.model, row.runtime, row.precision): row for row in found}


def compared(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of `trtzoo parity` by model and precision, at batch 8."""
    text = trtzoo(folder, "parity", *MODELS, *DATA, "--precision", "fp32,fp16", "--batch", 8, "--format", "json")
    logits, classes = (table["rows"] for table in json.loads(text)["tables"])
    return {(a["Model"], a["prec."]): a | b for a, b in zip(logits, classes, strict=True)}


def measure(folder: Path) -> None:
    start = time.perf_counter()
    subprocess.run([sys.executable, TRAIN, folder], check=True)
    training = time.perf_counter() - start
    evaluations, parity = evaluated(folder), compared(folder)
    rows = []
    for name in MODELS:
        for runtime, kind, title in FILES:
            row = evaluations[name, runtime, kind]
            cells = [f"{name}, {title}", f"{row.top1} of {row.images}", f"{row.top1 / row.images:.2%}"]
            pair = parity[name, kind] if runtime != "pytorch" else None
            rows.append([*cells, *([f"{pair['max error']:.1e}", str(pair["flips"]), pair["verdict"]] if pair else [""] * 3)])
    images = evaluations[MODELS[0], "pytorch", "fp32"].images
    notes = [
        f"{images} digits of the test split. Training both networks took {training:.0f} s. Errors are relative to max|logit|."
    ]
    write("digits", ["", "correct", "top-1", "max error", "flips", "parity"], rows, notes)


def main() -> None:
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        measure(folder)
        return
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name))


if __name__ == "__main__":
    main()
