"""The HTML page of 1,000 synthetic results: seconds to write it, its size, and seconds until Chromium has drawn it.

Needs a Chromium on the PATH. Usage: python benchmarks/page.py   (writes benchmarks/figures/page.md)
"""

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from figures import write
from playwright.sync_api import Browser, sync_playwright
from report import RESULTS, ROUNDS, SAMPLES, results

from trtzoo.core.files import encode
from trtzoo.core.records import Result


def distinct(result: Result, chance: random.Random) -> Result:
    """Give the result its own hashes, times and check, so that the page cannot share them between cells."""
    assert result.weights and result.check
    weights = msgspec.structs.replace(result.weights, sha256=f"{chance.getrandbits(256):064x}")
    check = msgspec.structs.replace(result.check, error=chance.uniform(1e-7, 1e-6))
    started = f"2026-11-24T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}+00:00"
    own = {"artifact_sha256": f"{chance.getrandbits(256):064x}", "load": chance.random(), "other_load": chance.random() / 10}
    return msgspec.structs.replace(result, weights=weights, check=check, started=started, **own)


def make(folder: Path) -> float:
    """Seconds of one `trtzoo report`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "trtzoo.cli", "report"], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def opened(browser: Browser, page: Path, width: int) -> float:
    """Seconds until the table and the figures are drawn, in a new window with an empty cache."""
    shown = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    start = time.perf_counter()
    shown.goto(page.as_uri())
    shown.locator("html[data-ready=yes]").wait_for()
    taken = time.perf_counter() - start
    shown.context.close()
    return taken


def row(name: str, taken: list[float]) -> list[str]:
    return [name, f"{statistics.median(taken):.2f} s", f"{max(taken):.2f} s"]


def main() -> None:
    chance, rows = random.Random(0), []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        for result in results():
            path = folder / "benchmarks" / result.device.key / f"{result.case.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(distinct(result, chance)))
        rows.append(row("written by `trtzoo report`", [make(folder) for _ in range(ROUNDS + 1)][1:]))
        page = folder / "report.html"
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for title, width in (("opened, 1280 pixels wide", 1280), ("opened, 390 pixels wide", 390)):
            rows.append(row(title, [opened(browser, page, width) for _ in range(ROUNDS + 1)][1:]))
        note = (
            f"{RESULTS:,} synthetic results of {SAMPLES} samples: {page.stat().st_size / 1e6:.2f} MB in one file. Opened: "
            f"until the table and the figures are drawn, Chromium {browser.version}; {ROUNDS} times each."
        )
        browser.close()
    write("page", ["", "median", "slowest"], rows, [note])


if __name__ == "__main__":
    main()
