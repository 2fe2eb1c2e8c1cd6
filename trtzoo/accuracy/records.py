"""Records of evaluations: one per model, precision and runtime, in benchmarks/<device>/accuracy/, and its journal before that.

A journal has one line per finished batch, appended and never changed. It survives a kill.
"""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from filelock import Timeout

from trtzoo.core.errors import StoreError
from trtzoo.core.files import locked, read_record
from trtzoo.core.records import EVALUATIONS, SCHEMA, Device, Record, Weights, check

DEFAULT_BATCH = 8

CHANGES = {
    "fingerprint": "the data set has changed: its fingerprint was {old:.12} and is {new:.12}",
    "images": "the data set has changed: it had {old} images and has {new}",
    "artifact_sha256": "the network's file has changed: its sha256 was {old:.12} and is {new:.12}",
}


class Evaluation(Record, frozen=True, kw_only=True):
    """How many of `images` labelled images had their class first (`top1`) or among the first five (`top5`).

    `fingerprint` is the data set's. `bad` lists the unreadable images, which are not in `images`, with reasons. `not_finite`
    images had a logit that is not finite; they count as wrong. `seconds` includes decoding.
    """

    schema: int = SCHEMA
    kind: Literal["evaluation"] = "evaluation"
    model: str
    precision: str
    runtime: str
    batch: int
    classes: int = 1000
    size: int = 224
    device: Device
    dataset: str
    fingerprint: str
    images: int
    top1: int
    top5: int
    not_finite: int = 0
    bad: dict[str, str] = msgspec.field(default_factory=dict)
    weights: Weights
    artifact_sha256: str
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        counts = {"images": self.images >= 0, "top1": 0 <= self.top1 <= self.top5, "top5": self.top5 <= self.images}
        check(self, not_finite=0 <= self.not_finite <= self.images, seconds=0 <= self.seconds < math.inf, **counts)

    @property
    def name(self) -> str:
        classes = f"-c{self.classes}" if self.classes != 1000 else ""
        size = f"-s{self.size}" if self.size != 224 else ""
        return f"{self.model}-{self.precision}{classes}{size}-{self.runtime}"


def load_evaluations(results: Path) -> tuple[list[Evaluation], list[str]]:
    """All evaluations in results/<device>/accuracy/, and an error message for each file that is not one."""
    found, complaints = [], []
    for path in sorted(results.glob(f"*/{EVALUATIONS}/*.json")):
        try:
            found.append(read_record(path, Evaluation))
        except (StoreError, OSError) as error:
            complaints.append(str(error))
    return found, complaints


# --- the journal ---


class Entry(Record, frozen=True, kw_only=True):
    """One batch: (index, rank of its class among its logits) per image, (index, reason) per unreadable one, and seconds."""

    ranks: list[tuple[int, int]] = msgspec.field(default_factory=list)
    bad: list[tuple[int, str]] = msgspec.field(default_factory=list)
    seconds: float = 0.0


class Journal:
    """The finished images of an evaluation: `ranks[index]`, or for an unreadable image `bad[index]`."""

    def __init__(self, path: Path, header: dict[str, Any], *, resume: bool = False) -> None:
        """Start a new journal, or `resume` the one in the file; then raises StoreError if it does not match or is damaged.

        `header` is everything that decides an image's rank, and the number of `images`.
        """
        self.path, self.seconds = path, 0.0
        self.ranks: dict[int, int] = {}
        self.bad: dict[int, str] = {}
        first = msgspec.json.encode(header) + b"\n"
        lines = path.read_bytes().splitlines(keepends=True) if resume and path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # cut short by a kill
        if not lines:
            path.write_bytes(first)
            return
        try:
            known, ours = (msgspec.json.decode(line, type=dict[str, Any]) for line in (lines[0], first))
            for name, new in ours.items():
                if (old := known.get(name)) != new:
                    change = CHANGES.get(name, "{name} was {old} and is {new}").format(name=name, old=str(old), new=str(new))
                    raise StoreError(f"Cannot resume {path}: {change}. Rerun without --resume.")
            for line in lines[1:]:
                self._add(msgspec.json.decode(line, type=Entry))
            if unknown := (self.ranks.keys() | self.bad) - set(range(header["images"])):
                raise msgspec.ValidationError(f"there is no image {min(unknown)}")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"{path} is damaged ({error}). Rerun without --resume.") from error
        os.truncate(path, sum(map(len, lines)))

    def append(self, entry: Entry) -> None:
        """Write an entry and count it. Raises StoreError if it cannot be written; then it is not counted."""
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path} could not be written: {error.strerror}.") from error
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        self.ranks |= dict(entry.ranks)
        self.bad |= dict(entry.bad)
        self.seconds += entry.seconds


@contextmanager
def exclusive(path: Path) -> Iterator[Path]:
    """Lock a journal. Raises StoreError if another process holds the lock."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, timeout=0))
        except Timeout as error:
            raise StoreError(f"This evaluation is already running in another process ({path}).") from error
        except OSError as error:
            raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error
        yield path
