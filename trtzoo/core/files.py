"""trtzoo's files: names, sidecars, hashes, locks, and atomic writes.

An artifact is a file with a sidecar, `name.json`, that holds its sha256. Both are written into a hidden folder beside the
artifact and renamed into place, the sidecar last, so after `kill -9` at any moment a damaged file fails its hash. Nothing is
fsynced: after a power failure, the hashes detect what was lost.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

import msgspec
import platformdirs
from filelock import FileLock, Timeout

from trtzoo.core.console import log
from trtzoo.core.decoding import UnreadableError, convert, decode_json, read_file
from trtzoo.core.errors import StoreError
from trtzoo.core.records import SCHEMA, Record

R = TypeVar("R", bound=Record)
WAIT = 2.0  # seconds before a process says whose lock it is waiting for
STALE = 3600.0  # seconds after which a work folder without a lock belongs to no process


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sidecar_path(artifact: Path) -> Path:
    return artifact.with_suffix(".json")


def encode(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes, kind: type[R], *, name: str) -> R:
    """Decode JSON as a record of type `kind`. Raises StoreError if it is damaged or has another schema version."""
    try:
        return as_record(decode_json(data), kind, name=name)
    except UnreadableError as error:
        raise StoreError(f"{name} is damaged: {error}.") from error


def as_record(value: Any, kind: type[R], *, name: str) -> R:
    """What `decode` returns and raises, for JSON that `decode_json` has decoded."""
    if isinstance(value, dict) and value.get("schema") != SCHEMA:
        found = msgspec.json.encode(value["schema"]).decode() if "schema" in value else "missing"
        raise StoreError(f"{name} has schema version {shorten(found, 40)}; this trtzoo reads version {SCHEMA}.")
    try:
        return convert(value, kind)
    except UnreadableError as error:
        raise StoreError(f"{name} is damaged: {error}.") from error


def read_record(path: Path, kind: type[R]) -> R:
    """The record in a JSON file. Raises StoreError as `decode` does, and OSError."""
    return decode(read_file(path), kind, name=str(path))


def read_sidecar(artifact: Path, kind: type[R], *, remedy: str) -> R:
    """The sidecar of an artifact that matches it. Raises StoreError if either file is missing or damaged, or they differ.

    `remedy` is the command that makes the artifact.
    """
    path = sidecar_path(artifact)
    if not artifact.is_file() or not path.is_file():
        missing = path if artifact.is_file() else artifact
        raise StoreError(f"{missing} is missing. Run: {remedy}")
    record = read_record(path, kind)
    if sha256_file(artifact) != record.sha256:  # type: ignore[attr-defined]
        raise StoreError(f"{artifact} is not the file that {path.name} describes: it was changed or truncated. Run: {remedy}")
    return record


@contextmanager
def replacing(artifact: Path, *, lock: bool = True) -> Iterator[Path]:
    """A hidden folder to write files into; on success they are renamed into place beside `artifact`, the sidecar last.

    On an error nothing changes. With `lock`, writers take turns; the lock leaves a folder .locks behind. Without it, as for
    a file that a user names, the last writer wins. Raises StoreError if the disk is full or read-only.
    """
    folder, renamed = artifact.parent, 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _turn(artifact) if lock else nullcontext():
            _sweep(folder, artifact.name if lock else "")
            work = Path(tempfile.mkdtemp(prefix=f".{artifact.name}.tmp-", dir=folder))
            try:
                yield work
                files = sorted(work.iterdir(), key=lambda path: path.suffix == ".json")
                for taken in (folder / path.name for path in files if (folder / path.name).is_dir()):
                    raise IsADirectoryError(errno.EISDIR, f"{taken.name} is a folder")
                for path in files:
                    path.replace(folder / path.name)
                    renamed += 1
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        kept = "Its sidecar does not match it now: make it again" if renamed else "Nothing was changed"
        raise StoreError(f"{artifact} could not be written: {error.strerror or error}. {kept}.") from error


def _sweep(folder: Path, held: str) -> None:
    """Delete what killed processes left: the work folders of the name whose lock is `held`, and old ones of other names."""
    for stale, artifact in work_folders(folder):
        with suppress(OSError, Timeout):  # another process deletes it, or holds its lock
            if artifact.name == held:
                shutil.rmtree(stale)
            elif time.time() - stale.stat().st_mtime > STALE:
                with locked(artifact, timeout=0) if has_lock(artifact) else nullcontext():
                    shutil.rmtree(stale)


def work_folders(folder: Path) -> list[tuple[Path, Path]]:
    """The work folders of `replacing` in a folder, each with its artifact; a process may be using them."""
    return [(path, folder / path.name[1:].rpartition(".tmp-")[0]) for path in folder.glob(".*.tmp-*")]


def has_lock(artifact: Path) -> bool:
    """Whether the lock of `replacing` is there, held or not: trtzoo has written the artifact, or is writing it."""
    return _lock_path(artifact).is_file()


@contextmanager
def locked(artifact: Path, *, timeout: float = -1) -> Iterator[None]:
    """Hold the artifact's lock across processes; the system releases it if the holder dies.

    Raises filelock.Timeout if another process still holds it after `timeout` seconds; a negative number waits without end.
    """
    path = _lock_path(artifact)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=timeout):
        yield


@contextmanager
def _turn(artifact: Path) -> Iterator[None]:
    """Hold the artifact's lock. If another process still has it after WAIT seconds, say which one, and go on waiting."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(artifact, timeout=WAIT))
        except Timeout:
            pid, command = lock_holder(artifact)
            holder = f"process {pid} ({command})" if pid else "another process"
            log.info("Waiting for %s: %s is writing it.", artifact, holder)
            stack.enter_context(locked(artifact))
        yield


def _lock_path(artifact: Path) -> Path:
    return artifact.parent / ".locks" / f"{artifact.name}.lock"


def lock_holder(artifact: Path) -> tuple[int, str]:
    """The process that holds the artifact's lock, and its command; 0 and "" where the system does not say, or nobody does."""
    with suppress(OSError):
        inode = _lock_path(artifact).stat().st_ino
        found = re.search(rf" FLOCK +ADVISORY +WRITE (\d+) \w+:\w+:{inode} ", Path("/proc/locks").read_text())
        if found:
            words = Path(f"/proc/{found[1]}/cmdline").read_bytes().decode(errors="replace").split("\0")
            return int(found[1]), shorten(" ".join(words), 200)
    return 0, ""


def write_record(path: Path, record: Record) -> None:
    """Write one JSON file atomically."""
    with replacing(path) as work:
        (work / path.name).write_bytes(encode(record))


def cached_record(path: Path, kind: type[R], make: Callable[[], R]) -> R:
    """The record in a file of the user's cache; one that is missing or damaged is made, which may raise, and written."""
    with suppress(OSError, StoreError):
        return read_record(path, kind)
    made = make()
    write_record(path, made)
    return made


def cache_folder() -> Path:
    """The user's folder for downloads and for PyCUDA's wheel; the environment variable TRTZOO_CACHE names another."""
    return Path(os.environ.get("TRTZOO_CACHE") or platformdirs.user_cache_path("trtzoo"))


def free_space(path: Path) -> int:
    """Free bytes on the disk that holds `path`, or will hold it."""
    while not path.exists():
        path = path.absolute().parent
    return shutil.disk_usage(path).free


def size_text(size: int) -> str:
    """A size in bytes as text: "4 kB", "36 MB", "7.2 GB"."""
    if size < 1e6:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
