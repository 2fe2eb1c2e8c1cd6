"""Downloads: each file once, complete, with its hash, shared between processes.

TRTZOO_CACHE is the cache folder, TRTZOO_MIRROR a server to use instead of the publishers'. What an interrupted download
received stays in `.NAME.partial`, which is never taken for the file. The next one continues it if it is of the same version.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from trtzoo.core.console import progress_bars
from trtzoo.core.errors import StoreError, UnreachableError, UsageError, WeightsError
from trtzoo.core.files import cache_folder, encode, read_sidecar, replacing, sha256_file, sidecar_path
from trtzoo.core.records import SCHEMA, Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.models.transfer import Job, Outcome, Progress, version_path

MAX_BYTES = 2 << 30
PATIENCE, BLOCK = 20.0, 200_000  # a server must send each block of this many bytes in this many seconds

_unreachable: dict[str, str] = {}  # hosts that did not answer, with the message: the next models do not wait for them again


class Download(Record, frozen=True, kw_only=True):
    """The JSON file beside a downloaded file. Later reads verify the hash of the first download."""

    schema: int = SCHEMA
    url: str
    sha256: str


def fetch(url: str, *, name: str = "", sha256_prefix: str = "", check: Callable[[Path], object] = lambda path: None) -> Path:
    """The path of the cached file, downloaded if necessary. It is called `name` if not as in the address.

    `check` raises a WeightsError if a new file must not enter the cache. Raises UnreachableError if the server does not send
    the file, WeightsError if its sha256 does not start with the publisher's `sha256_prefix`, StoreError if the cache cannot
    be written.
    """
    address = urlsplit(url)
    target = cache_folder() / address.netloc / (name or Path(address.path).name)
    if _is_complete(target):
        return target
    if address.netloc in _unreachable:
        raise UnreachableError(_unreachable[address.netloc])
    with replacing(target) as work:
        if _is_complete(target):  # another process downloaded it while this one waited
            return target
        fresh, mirror, resumed = work / target.name, _mirror(), True
        while not fresh.exists():
            resumed = _receive(mirror + address.path if mirror else url, fresh, target, publisher=address.netloc)
            try:
                digest = _verify(fresh, url, sha256_prefix, check)
            except WeightsError:
                if not resumed:
                    raise
                fresh.unlink()  # perhaps the parts are of two versions: once more from the start
        sidecar_path(fresh).write_bytes(encode(Download(url=url, sha256=digest)))
    return target


def _mirror() -> str:
    """The address in TRTZOO_MIRROR, or an empty text. Raises UsageError if it is none."""
    mirror = os.environ.get("TRTZOO_MIRROR", "").rstrip("/")
    try:
        address = urlsplit(mirror)
        valid = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 1) > 0
    except ValueError:
        valid = False
    if mirror and not valid:
        raise UsageError(f"TRTZOO_MIRROR is {mirror!r}, which is not an address. Example: https://mirror.example")
    return mirror


def _is_complete(target: Path) -> bool:
    try:
        read_sidecar(target, Download, remedy="")
    except StoreError:
        return False
    return True


def _receive(source: str, fresh: Path, target: Path, *, publisher: str) -> bool:
    """Receive `fresh` from an address, and return whether a part of it is from an earlier download.

    Raises UnreachableError, and remembers a `publisher` that does not answer.
    """
    partial = target.with_name(f".{target.name}.partial")
    job = Job(url=source, file=str(partial), limit=MAX_BYTES, patience=PATIENCE, block=BLOCK)
    with progress_bars() as bars:
        bar = bars.add_task(f"{target.name} (MB)", total=None)

        def show(now: Progress) -> None:
            bars.update(bar, completed=now.received / 1e6, total=now.size / 1e6 or None)

        command = module_command("trtzoo.models.transfer")
        try:
            outcome = run_child(command, job, answer=Outcome, progress=Progress, on_progress=show, name="the download")
        except ChildError as error:
            if error.failure.kind == "error":  # the file cannot be written
                raise OSError(errno.EIO, str(error)) from error
            outcome = Outcome(fault=f"{source} was not received: {error}.", answered=True)
    if not outcome.fault:
        partial.replace(fresh)
        version_path(partial).unlink(missing_ok=True)
        return outcome.resumed
    if not outcome.answered:
        _unreachable[publisher] = outcome.fault
    raise UnreachableError(f"{outcome.fault}{_kept(partial)}")


def _kept(partial: Path) -> str:
    """A sentence on what of an interrupted download the next one continues; nothing else is kept."""
    if partial.exists() and partial.stat().st_size and version_path(partial).exists():
        return f" {partial.stat().st_size:,} bytes are kept: the next download continues there."
    for path in (partial, version_path(partial)):
        path.unlink(missing_ok=True)
    return ""


def _verify(fresh: Path, url: str, sha256_prefix: str, check: Callable[[Path], object]) -> str:
    """The sha256 of a received file. Raises WeightsError if it is not what was asked for."""
    with fresh.open("rb") as file:
        if file.read(64).lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"<"):
            raise UnreachableError(f"{url} returned a web page instead of a weights file.")
    digest = sha256_file(fresh)
    if not digest.startswith(sha256_prefix):
        raise WeightsError(
            f"{url} returned a file with sha256 {digest}; the publisher's is {sha256_prefix}…. The file was deleted."
        )
    check(fresh)
    return digest
