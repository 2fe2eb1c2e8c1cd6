"""Functions that a process of a trial runs in the place of the command line. It imports little, because each process does."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec.structs import replace

from tests.hostile.mutate import CORPUS
from trtzoo.core.errors import TrtzooError
from trtzoo.core.files import decode, write_record
from trtzoo.core.records import Result
from trtzoo.models import download

URL = "https://weights.example/models/w.pdparams"


def fetch() -> None:
    """What a command does to have a published checkpoint."""
    try:
        print(download.fetch(URL))
    except TrtzooError as error:
        sys.exit(f"trtzoo: {error}")


def write_again_and_again(folder: Path) -> None:
    """Replace two results, which change their length, 200 times each."""
    whole = decode(CORPUS["result-gpu.json"], Result, name="")
    for number in range(200):
        for kind in ("gpu", "gpu2"):
            write_record(folder / kind / "r.json", replace(whole, samples=whole.samples * (1 + number % 7)))
