"""Downloads: once, whole, hashed, shared between processes. TRTZOO_CACHE is the folder, TRTZOO_MIRROR another server."""

import logging
import os
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import pooch
import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from trtzoo.core.console import draws, stderr
from trtzoo.core.errors import StoreError, UnreachableError, WeightsError
from trtzoo.core.files import encode, read_sidecar, replacing, sha256_file, sidecar_path
from trtzoo.core.records import SCHEMA, Record

TIMEOUT = (5, 60)
"""Seconds to connect, and between two packets."""

_unreachable: dict[str, str] = {}
"""Hosts that did not answer in this process: nine more models need not wait for them."""


class Download(Record, frozen=True, kw_only=True):
    """What stands beside a downloaded file: its hash, pinned when it came."""

    schema: int = SCHEMA
    url: str
    sha256: str


def cache_folder() -> Path:
    return Path(os.environ.get("TRTZOO_CACHE") or pooch.os_cache("trtzoo"))


def fetch(url: str, *, sha256_prefix: str = "") -> Path:
    """The cached file of `url`, downloaded if it is not there.

    Its sha256 must begin with what the publisher gave; where none was given, the first download pins it. Raises
    UnreachableError, WeightsError for a file with another hash, StoreError for a cache that cannot be written.
    """
    host, _, name = urlsplit(url).netloc, *url.rpartition("/")[1:]
    target = cache_folder() / host / name
    if _is_whole(target):
        return target
    if host in _unreachable:
        raise UnreachableError(_unreachable[host])
    with replacing(target) as work:
        if _is_whole(target):  # another process brought it while this one waited
            return target
        fresh = _download(_mirrored(url), work / name, host)
        with fresh.open("rb") as file:
            if file.read(1) == b"<":
                raise UnreachableError(f"{url} gave a web page, not a file of weights.")
        digest = sha256_file(fresh)
        if not digest.startswith(sha256_prefix):
            raise WeightsError(f"{url} gave a file with sha256 {digest}; its publisher says {sha256_prefix}…. It was not kept.")
        sidecar_path(fresh).write_bytes(encode(Download(url=url, sha256=digest)))
    return target


def _is_whole(target: Path) -> bool:
    try:
        read_sidecar(target, Download, remedy="")
    except StoreError:
        return False
    return True


def _mirrored(url: str) -> str:
    """The address to ask: the same path on TRTZOO_MIRROR where that is set."""
    mirror = os.environ.get("TRTZOO_MIRROR", "")
    return mirror.rstrip("/") + urlsplit(url).path if mirror else url


def _download(url: str, fresh: Path, host: str) -> Path:
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        with _Bar(fresh.name) as bar:
            downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)
            pooch.retrieve(url, known_hash=None, fname=fresh.name, path=fresh.parent, downloader=downloader)
    except requests.HTTPError as error:
        answer = error.response
        raise UnreachableError(
            f"{url} answered {answer.status_code} {answer.reason}." if answer is not None else str(error)
        ) from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise UnreachableError(f"{urlsplit(url).netloc} broke off the transfer of {fresh.name}.") from error
    except requests.RequestException as error:
        reason = f"{urlsplit(url).netloc} cannot be reached ({type(error).__name__})."
        _unreachable[host] = reason
        raise UnreachableError(reason) from error
    return fresh


class _Bar:
    """pooch's idea of a progress bar (total, update, reset, close), drawn by rich on stderr."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=stderr, transient=True, disable=not draws())
        self._task = self._progress.add_task(name, total=None)
        self.total = 0

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size, total=self.total or None)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """pooch's last word; the bar ends with its `with` block."""
