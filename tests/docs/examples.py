"""Reads the worked examples of docs/architecture.md and applies one to a copy of the package."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "architecture.md"

ROW = re.compile(r"Add to `(?P<table>\w+)` in `(?P<path>[\w./]+)`:\n\n```python\n(?P<code>.*?)```", re.DOTALL)
LINES = re.compile(r"Append to `(?P<path>[\w./]+)`:\n\n```toml\n(?P<code>.*?)```", re.DOTALL)
FILE = re.compile(r"Create `(?P<path>[\w./]+)`:\n\n```python\n(?P<code>.*?)```", re.DOTALL)
COMMANDS = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def sections() -> dict[str, str]:
    """The text of every worked example, by its heading."""
    text = PAGE.read_text().split("## Adding a row\n")[1].split("\n## ")[0]
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def follow(section: str, folder: Path) -> list[str]:
    """Apply a section's rows and files to a copy of the package in `folder` and run its commands; the output of each."""
    shutil.copytree(ROOT / "trtzoo", folder / "trtzoo", ignore=shutil.ignore_patterns("__pycache__"))
    rows, lines = list(ROW.finditer(section)), list(LINES.finditer(section))
    assert len(rows) + len(lines) == 1, "an example adds one row"
    for appended in lines:
        path = folder / appended["path"]
        path.write_text(path.read_text() + "\n" + appended["code"])
    for row in rows:
        path = folder / row["path"]
        path.write_text(with_row(path.read_text(), row["table"], row["code"]))
    for file in FILE.finditer(section):
        assert not (folder / file["path"]).exists()
        (folder / file["path"]).write_text(file["code"])
    return [run(line, folder) for block in COMMANDS.findall(section) for line in block.strip().splitlines()]


def with_row(text: str, table: str, code: str) -> str:
    """The file's text with `code` as the last row of the table."""
    opened = re.search(rf"^{table}\b.*\n", text, re.MULTILINE)
    assert opened, f"there is no table {table}"
    closed = re.compile(r"^( {4})?\)\n", re.MULTILINE).search(text, opened.end())
    assert closed, f"{table} has no end"
    indented = "".join(f"        {line}\n" for line in code.strip().splitlines())
    return text[: closed.start()] + indented + text[closed.start() :]


def run(command: str, folder: Path) -> str:
    """Run a `trtzoo …` line on the copy of the package."""
    program, *words = shlex.split(command)
    assert program == "trtzoo"
    if words[0] == "bench" and "--runtime" not in words:
        words += ["--runtime", "onnxruntime"]  # spares the trials of auto
    child = [sys.executable, "-m", "trtzoo.cli", *words]
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(child, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
