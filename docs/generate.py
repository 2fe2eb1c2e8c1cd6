"""Fill the generated parts of README.md and docs/: help texts, benchmark figures, the GPU table, the picture of the layers.

Usage: python docs/generate.py [--check | --pictures]

--check compares and writes nothing. --pictures also draws the pictures of `trtzoo figures` from the reference results; they
depend on matplotlib's version, so --check does not compare them.

A generated block stands between `<!-- begin: KIND NAME -->` and `<!-- end -->`; BLOCKS has the kinds.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from textwrap import wrap

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "benchmarks" / "figures"
REFERENCE = ROOT / "benchmarks" / "reference"
"""Raw results of the reference machine: the README's table is made of them."""
PICTURES = ("flops.png",)
LAYERS = ROOT / "docs" / "images" / "layers.svg"
BLOCK = re.compile(r"(<!-- begin: (\w+) ?([\w-]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The Markdown files that may have generated blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


# --- blocks ---


def output(*words: str) -> str:
    """The stdout of `trtzoo WORDS`, 80 columns wide, without colour."""
    plain = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    child = [sys.executable, "-m", "trtzoo.cli", *words]
    return subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True, env=plain, cwd=ROOT).stdout


def help_text(command: str) -> str:
    """The help text of a command, or of the program."""
    words = [*([command] if command else []), "--help"]
    lines = [line.rstrip() for line in output(*words).strip().splitlines()]
    return "\n".join(["```text", f"$ trtzoo {' '.join(words)}", *lines, "```", ""])


def commands(_: str) -> str:
    """A section for every command of the program, in the order of `trtzoo --help`."""
    from typer.main import get_command

    from trtzoo.cli.commands import app

    sections = [help_text("")]
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        sections.append(f"## trtzoo {name}\n\n{help_text(name)}")
    return "\n".join(sections)


def figure(name: str) -> str:
    """benchmarks/figures/NAME.md, as its benchmark wrote it."""
    return (FIGURES / f"{name}.md").read_text()


def latency(precision: str) -> str:
    """One precision's table of benchmarks/figures/table.md, without its heading."""
    sections = figure("table").split("### ")
    (found,) = [text for text in sections if text.startswith(f"Latency in ms, {precision.upper()},")]
    return found.split("\n\n", 1)[1].rstrip() + "\n"


def gpus(_: str) -> str:
    """Which TensorRT builds for which GPU, from the tables of gpus.toml."""
    from trtzoo.hardware.gpus import GPUS

    rows = [("GPU", "Compute capability", "TensorRT, on that GPU", "TensorRT-RTX, ahead of time"), ("---",) * 4]
    for gpu in GPUS.values():
        rtx = f"no: {gpu.not_rtx}" if gpu.not_rtx else "yes, from any machine"
        versions = f"not supported: {gpu.unsupported}" if gpu.unsupported else f"{gpu.oldest} to {gpu.newest or 11}"
        rows.append((gpu.title, f"SM{gpu.sm}", versions, rtx))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def stacks(_: str) -> str:
    """Which packages go together, from the rows of software.toml."""
    from trtzoo.hardware.software import STACKS

    rows = [("GPU", "Driver", "TensorRT", "PyTorch", "ONNX Runtime", "Python", "Extra"), ("---",) * 7]
    for row in STACKS:
        gpu = f"SM{row.sm[0]}" if row.sm[1] < 75 else f"SM{row.sm[0]} and later"
        newest = "" if row.newest_driver > 999 else f" to r{row.newest_driver - 1}"
        driver = f"r{row.oldest_driver}{newest}" if newest else f"r{row.oldest_driver} and later"
        packages = [f"`{name}`" for name in (row.tensorrt, row.torch, row.onnxruntime)]
        rows.append((gpu, driver, *packages, f"3.10 to {row.newest_python}", f"`{row.extra}`"))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


BLOCKS = {"commands": commands, "figure": figure, "latency": latency, "gpus": gpus, "stacks": stacks}


def filled(text: str) -> str:
    """The page's text with every block generated again."""
    return BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]](found[3]) + found[4], text)


# --- the picture of the layers ---

CAPTIONS = {
    "cli": "one function per command: parse, call a stage, print",
    "api": "the public Python functions; the commands call them",
    "report": "tables, figures, page, comparison; reads result files only",
    "exporter": "network to checked ONNX file",
    "builder": "ONNX file to TensorRT engine",
    "benchmark": "sweep, loops, protocols, warnings",
    "accuracy": "top-1 and top-5 on labelled images",
    "verification": "parity with the PyTorch reference",
    "runtimes": "RUNTIMES: one row and one file each",
    "images": "data sets, preprocessing, decoders",
    "artifacts": "ONNX file, engine, golden sample: each checked when it is opened",
    "models": "MODELS: networks, weights, counts",
    "hardware": "GPUs as data, devices, probes, monitor",
    "core": "records, precisions, files, statistics, errors, console",
}
WIDTH, HEIGHT, GAP, LEFT = 960, 72, 14, 28


def contract() -> list[list[str]]:
    """The layers of the import-linter contract in pyproject.toml, the top one first, without `trtzoo.`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [row["layers"] for row in settings["contracts"] if row["type"] == "layers"]
    return [[name.strip().removeprefix("trtzoo.") for name in re.split(r"[|:]", layer)] for layer in layers]


def layers_svg() -> str:
    """One row of boxes per layer; an arrow shows the direction of imports."""
    layers = contract()
    total = len(layers) * (HEIGHT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img" aria-labelledby="title" '
        'font-family="system-ui, sans-serif" text-anchor="middle">',
        '<title id="title">The layers of trtzoo; each imports only from the layers below it</title>',
        f'<rect width="{WIDTH}" height="{total}" rx="8" fill="#fbfbf9"/>',
        f'<path d="M{LEFT} {GAP + 4} V{total - GAP - 6} m-5 -8 l5 8 l5 -8" fill="none" stroke="#55606a" stroke-width="2"/>',
        f'<text transform="translate({LEFT - 10} {total / 2:.0f}) rotate(-90)" font-size="13" fill="#55606a">imports</text>',
    ]
    for number, names in enumerate(layers):
        top = GAP + number * (HEIGHT + GAP)
        room = WIDTH - LEFT - 2 * GAP
        box = (room - GAP * (len(names) - 1)) / len(names)
        for place, name in enumerate(names):
            parts += _box(name, LEFT + GAP + place * (box + GAP), top, box)
    return "\n".join([*parts, "</svg>", ""])


def _box(name: str, left: float, top: float, width: float) -> list[str]:
    middle, lines = left + width / 2, wrap(CAPTIONS[name], int(width / 8))
    first = top + HEIGHT / 2 + 5 - 9 * len(lines)
    return [
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{HEIGHT}" rx="6" fill="#e6eef7" stroke="#3b6ea5"/>',
        f'<text x="{middle:.1f}" y="{first:.1f}" font-size="16" font-weight="600" fill="#17293b">{escape(name)}</text>',
        *(
            f'<text x="{middle:.1f}" y="{first + 18 * line:.1f}" font-size="13" fill="#17293b">{escape(text)}</text>'
            for line, text in enumerate(lines, start=1)
        ),
    ]


def table() -> dict[Path, str]:
    """benchmarks/figures/table.md, from the raw results of the reference machine."""
    if not REFERENCE.is_dir():
        return {}
    return {
        FIGURES / "table.md": output("table", "--results", str(REFERENCE.relative_to(ROOT)), "--published", "--format", "md")
    }


def draw() -> None:
    """Draw PICTURES into docs/images."""
    with tempfile.TemporaryDirectory() as folder:
        output("figures", "--results", str(REFERENCE), "--out", folder)
        for name in PICTURES:
            shutil.copyfile(Path(folder) / name, LAYERS.parent / name)


def main() -> int:
    if "--pictures" in sys.argv:
        draw()
    made = table()
    if "--check" not in sys.argv:
        write(made)
    fresh = made | {path: filled(path.read_text()) for path in pages()} | {LAYERS: layers_svg()}
    stale = [path for path, text in fresh.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date. Run: python docs/generate.py")
        return 1 if stale else 0
    write({path: fresh[path] for path in stale})
    return 0


def write(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
