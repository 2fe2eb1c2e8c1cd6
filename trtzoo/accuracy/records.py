"""Records of evaluations: one per model, precision and runtime, in benchmarks/<device>/accuracy/, and its journal before that.

A journal has one line per finished batch, appended and never changed. It survives a kill.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from filelock import Timeout
from msgspec.structs import replace

from trtzoo.core.decoding import UnreadableError, convert, decode_json, read_file
from trtzoo.core.errors import StoreError
from trtzoo.core.files import locked, read_record
from trtzoo.core.records import (
    EVALUATIONS,
    MAX_BATCH,
    SCHEMA,
    Device,
    Identity,
    Record,
    Weights,
    are_not_negative,
    check,
    is_plain,
    is_time,
)

DEFAULT_BATCH = 8

CHANGES = {
    "fingerprint": "the data set has changed: its fingerprint was {old:.12} and is {new:.12}",
    "images": "the data set has changed: it had {old} images and has {new}",
    "artifact_sha256": "the network's file has changed: its sha256 was {old:.12} and is {new:.12}",
}


class Evaluation(Record, frozen=True, kw_only=True):
    """How many of `images` labelled images had their class first (`top1`) or among the first five (`top5`).

    `fingerprint` is that of the images used, `limit` the number to which they were limited; an older file does not say. `lists`
    are the sha256 of the label list and class file, by name. `bad` lists the unreadable images, which are not in `images`, with
    reasons. `not_finite` images had a logit that is not finite; they count as wrong. `seconds` includes decoding.
    """

    schema: int = SCHEMA
    kind: Literal["evaluation"] = "evaluation"
    model: str
    identity: Identity | None = None
    precision: str
    runtime: str
    batch: int
    classes: int = 1000
    size: int = 224
    device: Device
    dataset: str
    fingerprint: str
    lists: dict[str, str] = msgspec.field(default_factory=dict)
    limit: int | None = None
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
        wrong = 0 <= self.not_finite <= self.images - self.top1
        names = {name: is_plain(getattr(self, name)) for name in ("model", "precision", "runtime")}
        sides = {"batch": 0 < self.batch <= MAX_BATCH, "classes": 0 < self.classes <= 1 << 20, "size": 0 < self.size <= 1 << 14}
        times = {"started": is_time(self.started), **are_not_negative(self, "seconds")}
        check(self, not_finite=wrong, **names, **sides, **times, **counts)

    @property
    def name(self) -> str:
        """The name of its file: the network, the weights, the runtime, and the images."""
        return "-".join(filter(None, (self.stem, self.fingerprint[:8])))

    @property
    def stem(self) -> str:
        """The name without the images."""
        subject = self.subject
        return "-".join(filter(None, (subject.model, subject.form, self.precision, self.runtime, subject.tag)))

    @property
    def subject(self) -> Identity:
        """What was evaluated; an older file's fields say it."""
        usual = Identity(model=self.model, network=self.model, weights=self.weights)
        return self.identity or replace(usual, classes=self.classes, height=self.size, width=self.size)


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

    def __post_init__(self) -> None:
        check(self, ranks=all(rank >= 0 for _, rank in self.ranks), **are_not_negative(self, "seconds"))


class Journal:
    """The finished images of an evaluation: `ranks[index]`, or for an unreadable image `bad[index]`."""

    def __init__(self, path: Path, header: dict[str, Any], *, resume: bool = False) -> None:
        """Start a new journal, or `resume` the one in the file; then raises StoreError if it does not match or is damaged.

        `header` is everything that decides an image's rank, the number of `images`, and of `classes`.
        """
        self.path, self.seconds = path, 0.0
        self.images, self.classes = header["images"], header["classes"]
        self.ranks: dict[int, int] = {}
        self.bad: dict[int, str] = {}
        first = msgspec.json.encode(header) + b"\n"
        data = read_file(path) if resume and path.exists() else b""
        *lines, _ = data.split(b"\n")  # what follows the last one was cut short by a kill
        if not lines:
            path.write_bytes(first)
            return
        try:
            known, ours = (convert(decode_json(line), dict[str, Any]) for line in (lines[0], first))
            for name, new in ours.items():
                if (old := known.get(name)) != new:
                    change = CHANGES.get(name, "{name} was {old} and is {new}").format(name=name, old=str(old), new=str(new))
                    raise StoreError(f"Cannot resume {path}: {change}. Rerun without --resume.")
            for line in lines[1:]:
                self._add(convert(decode_json(line), Entry))
        except UnreadableError as error:
            raise StoreError(f"{path} is damaged ({error}). Rerun without --resume.") from error
        os.truncate(path, data.rfind(b"\n") + 1)

    def append(self, entry: Entry) -> None:
        """Write an entry and count it. Raises StoreError if it cannot be written; then it is not counted."""
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path} could not be written: {error.strerror}.") from error
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        """Count an entry. Raises UnreadableError for an unknown image, one with two outcomes, and a rank beyond the classes."""
        outcomes: list[tuple[int, int | str]] = [*entry.ranks, *entry.bad]
        for index, outcome in outcomes:
            if not 0 <= index < self.images or (isinstance(outcome, int) and outcome > self.classes):
                raise UnreadableError(f"there is no image {index} of rank {outcome}")
            if self.ranks.get(index, self.bad.get(index, outcome)) != outcome:
                raise UnreadableError(f"image {index} has two outcomes")
            if isinstance(outcome, int):
                self.ranks[index] = outcome
            else:
                self.bad[index] = outcome
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
