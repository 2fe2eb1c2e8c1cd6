"""What an evaluation has done so far, a line a batch, appended and never changed: it survives a kill and goes on from there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from trtzoo.core.errors import StoreError
from trtzoo.core.records import SCHEMA, Preprocessing, Record


class Header(Record, frozen=True, kw_only=True):
    """All that decides an image's rank. A journal with another header is of another evaluation."""

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


WORDS = {
    "fingerprint": "the data set was changed since: its fingerprint was {old} and is {new}",
    "images": "the data set was changed since: it had {old} images and has {new}",
    "artifact_sha256": "the network's file was changed since: its sha256 was {old} and is {new}",
}


class Entry(Record, frozen=True, kw_only=True):
    """One batch: the rank of each image's class among its logits, 0 the first; images that could not be read; seconds."""

    ranks: list[tuple[int, int]] = msgspec.field(default_factory=list)
    bad: list[tuple[int, str]] = msgspec.field(default_factory=list)
    seconds: float = 0.0


class Journal:
    """`ranks[index]` and `bad[index]` are of images done; no image is in it twice."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self.ranks: dict[int, int] = {}
        self.bad: dict[int, str] = {}
        self.seconds = 0.0

    def begin(self) -> None:
        self.path.write_bytes(msgspec.json.encode(self.header) + b"\n")

    def take_over(self) -> None:
        """What is there already; a torn last line is dropped. Raises StoreError where it is damaged or of something else."""
        whole = self.path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        if not whole:  # killed before its first line was there
            self.begin()
            return
        first, *lines = whole.splitlines()
        try:
            self._compare(msgspec.json.decode(first, type=Header))
            for line in lines:
                self._count(msgspec.json.decode(line, type=Entry))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} is damaged ({error}). Begin anew: leave out --resume.") from error
        os.truncate(self.path, len(whole))

    def append(self, entry: Entry) -> None:
        """Raises StoreError where it cannot be written: nothing is counted that is not in the journal."""
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path} could not be written: {error.strerror}.") from error
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        for index, rank in entry.ranks:
            if self._new(index):
                self.ranks[index] = rank
        for index, reason in entry.bad:
            if self._new(index):
                self.bad[index] = reason
        self.seconds += entry.seconds

    def _new(self, index: int) -> bool:
        if not 0 <= index < self.header.images:
            raise StoreError(f"{self.path} is damaged (there is no image {index}). Begin anew: leave out --resume.")
        return index not in self.ranks and index not in self.bad

    def _compare(self, found: Header) -> None:
        for name in Header.__struct_fields__:
            old, new = getattr(found, name), getattr(self.header, name)
            if old != new:
                words = WORDS.get(name, "{name} was {old} and is {new}").format(name=name, old=_short(old), new=_short(new))
                raise StoreError(f"{self.path} cannot be gone on with: {words}. Begin anew: leave out --resume.")


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an evaluation's journal. Raises StoreError where another process does."""
    locks = path.parent / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{path.name}.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise StoreError(f"Another process is at this very evaluation ({path}).") from error
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()
