"""Result files → results. A damaged file is told and skipped; the rest is shown."""

from __future__ import annotations

from pathlib import Path

from trtzoo.errors import StoreError
from trtzoo.spec import Result
from trtzoo.store import decode


def load(folder: Path) -> tuple[list[Result], list[str]]:
    """All results under folder/<device>/, in the files' order, and a sentence for each file that is not one."""
    results, complaints = [], []
    for path in sorted(folder.glob("*/*.json")):
        try:
            results.append(decode(path.read_bytes(), Result, where=str(path)))
        except (StoreError, OSError) as error:
            complaints.append(str(error))
    return results, complaints
