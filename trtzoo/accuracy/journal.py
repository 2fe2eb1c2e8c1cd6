"""The journal of an evaluation: one line per finished batch, appended and never changed. It survives a kill."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from filelock import Timeout

from trtzoo.core.errors import StoreError
from trtzoo.core.files import locked
from trtzoo.core.records import SCHEMA, Preprocessing, Record


class Header(Record, frozen=True, kw_only=True):
    """Everything that decides an image's rank. A journal with another header belongs to another evaluation."""

    schema: int = SCHEMA
    kind: str = "evaluation journal"
    fingerprint: str
    images: int
    artifact_sha256: str
    preprocessing: Preprocessing
    precision: str
    runtime: str
    batch: int
    versions: dict[str, str]


CHANGES = {
    "fingerprint": "the data set has changed: its fingerprint was {old} and is {new}",
    "images": "the data set has changed: it had {old} images and has {new}",
    "artifact_sha256": "the network's file has changed: its sha256 was {old} and is {new}",
}


class Entry(Record, frozen=True, kw_only=True):
    """One batch: (index, rank of its class among its logits) per image, (index, reason) per unreadable one, and seconds."""

    ranks: list[tuple[int, int]] = msgspec.field(default_factory=list)
    bad: list[tuple[int, str]] = msgspec.field(default_factory=list)
    seconds: float = 0.0


class Journal:
    """The finished images of an evaluation: `ranks[index]`, or for an unreadable image `bad[index]`."""

    def __init__(self, path: Path, header: Header, *, resume: bool = False) -> None:
        """Start a new journal, or `resume` the one in the file; then raises StoreError if it does not match or is damaged."""
        self.path, self.header = path, header
        self.ranks: dict[int, int] = {}
        self.bad: dict[int, str] = {}
        self.seconds = 0.0
        lines = path.read_bytes().splitlines(keepends=True) if resume and path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # cut short by a kill
        if not lines:
            path.write_bytes(msgspec.json.encode(header) + b"\n")
            return
        try:
            self._check_header(msgspec.json.decode(lines[0], type=Header))
            for line in lines[1:]:
                self._add(msgspec.json.decode(line, type=Entry))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"{path} is damaged ({error}). Rerun without --resume.") from error
        os.truncate(path, sum(map(len, lines)))

    def remaining(self) -> list[int]:
        """The indices of the images that are not finished."""
        return [index for index in range(self.header.images) if index not in self.ranks and index not in self.bad]

    def append(self, entry: Entry) -> None:
        """Write an entry and count it. Raises StoreError if it cannot be written; then it is not counted."""
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path} could not be written: {error.strerror}.") from error
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        self.ranks |= {index: rank for index, rank in entry.ranks if self._is_new(index)}
        self.bad |= {index: reason for index, reason in entry.bad if self._is_new(index)}
        self.seconds += entry.seconds

    def _is_new(self, index: int) -> bool:
        if not 0 <= index < self.header.images:
            raise StoreError(f"{self.path} is damaged (there is no image {index}). Rerun without --resume.")
        return index not in self.ranks and index not in self.bad

    def _check_header(self, found: Header) -> None:
        for name in Header.__struct_fields__:
            old, new = (str(getattr(header, name)) for header in (found, self.header))
            if old != new:
                old, new = (text[:12] if len(text) == 64 else text for text in (old, new))  # hashes are shortened
                change = CHANGES.get(name, "{name} was {old} and is {new}").format(name=name, old=old, new=new)
                raise StoreError(f"Cannot resume {self.path}: {change}. Rerun without --resume.")


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
