"""Write a benchmark's result to benchmarks/figures/NAME.md: a Markdown table with its script, date and machine."""

from datetime import date
from pathlib import Path

from trtzoo.hardware.devices import cpu_device

FOLDER = Path(__file__).parent / "figures"


def write(name: str, heads: list[str], rows: list[list[str]], notes: list[str], *, script: str = "") -> None:
    """Write the table and print it. `docs/generate.py` copies it into the pages."""
    cpu = cpu_device()
    lines = ["| " + " | ".join(row) + " |" for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)]
    device = f"{cpu.name}, {cpu.cores} cores, {cpu.memory >> 30} GiB"
    measured = f"Measured by `benchmarks/{script or name}.py` on {date.today()}: {device}."
    text = "\n".join([*lines, "", " ".join([*notes, measured]), ""])
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text)
    print(text)
