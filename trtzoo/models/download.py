"""Downloads: each file once, complete, with its hash, shared between processes.

TRTZOO_CACHE is the cache folder, TRTZOO_MIRROR a server to use instead of the publishers'.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from trtzoo.core.console import progress_bars
from trtzoo.core.errors import StoreError, UnreachableError, UsageError, WeightsError
from trtzoo.core.files import cache_folder, encode, read_sidecar, replacing, sha256_file, sidecar_path
from trtzoo.core.records import SCHEMA, Record

TIMEOUT = (5, 60)  # seconds to wait for a connection, and for more data
MAX_BYTES = 2 << 30
PATIENCE, SLOWEST = 30.0, 10_000  # seconds after which a server must send at least this many bytes per second

_unreachable: dict[str, str] = {}  # hosts that did not answer, with the message: the next models do not wait for them again


class Download(Record, frozen=True, kw_only=True):
    """The JSON file beside a downloaded file. Later reads verify the hash of the first download."""

    schema: int = SCHEMA
    url: str
    sha256: str


def fetch(url: str, *, sha256_prefix: str = "", check: Callable[[Path], object] = lambda path: None) -> Path:
    """The path of the cached file, downloaded if necessary. `check` raises an error if a new file must not enter the cache.

    Raises UnreachableError if the server does not send the file, WeightsError if its sha256 does not start with the
    publisher's `sha256_prefix`, StoreError if the cache cannot be written.
    """
    address = urlsplit(url)
    target = cache_folder() / address.netloc / Path(address.path).name
    if _is_complete(target):
        return target
    if address.netloc in _unreachable:
        raise UnreachableError(_unreachable[address.netloc])
    with replacing(target) as work:
        if _is_complete(target):  # another process downloaded it while this one waited
            return target
        fresh = work / target.name
        mirror = _mirror()
        _download(mirror + address.path if mirror else url, fresh, publisher=address.netloc)
        with fresh.open("rb") as file:
            if file.read(1) == b"<":
                raise UnreachableError(f"{url} returned a web page instead of a weights file.")
        digest = sha256_file(fresh)
        if not digest.startswith(sha256_prefix):
            raise WeightsError(
                f"{url} returned a file with sha256 {digest}; the publisher's is {sha256_prefix}…. The file was deleted."
            )
        check(fresh)
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


def _download(url: str, file: Path, *, publisher: str) -> None:
    """Save what the server sends. Raises UnreachableError, and remembers a `publisher` that does not answer."""
    server, start, received = urlsplit(url).netloc, time.monotonic(), 0
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
            if not response.ok:
                raise UnreachableError(f"{url} answered {response.status_code} {response.reason}.")
            size = int(response.headers.get("Content-Length") or 0)
            with file.open("wb") as output, progress_bars() as bars:
                bar = bars.add_task(f"{file.name} (MB)", total=size / 1e6 or None)
                while data := response.raw.read1(1 << 20):  # what has arrived: `read` would wait for a whole megabyte
                    received += len(data)
                    seconds = time.monotonic() - start
                    if max(received, size) > MAX_BYTES:
                        raise UnreachableError(f"{url} sends more than {MAX_BYTES:,} bytes, the limit.")
                    if seconds > PATIENCE and received < SLOWEST * seconds:
                        raise UnreachableError(
                            f"{server} sends less than {SLOWEST / 1000:.0f} kB/s: {received:,} bytes in {seconds:.0f} s."
                        )
                    output.write(data)
                    bars.advance(bar, len(data) / 1e6)
            if received < size:
                raise UnreachableError(f"{server} closed the connection during the transfer of {file.name}.")
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if received:
            raise UnreachableError(f"{server} closed the connection during the transfer of {file.name}.") from error
        _unreachable[publisher] = f"{server} cannot be reached ({type(error).__name__})."
        raise UnreachableError(_unreachable[publisher]) from error
