"""The child process of a download: it receives one file over HTTP, and continues what an earlier process received of it.

The server is not trusted. It must keep a pace from its first header to its last chunk, and stay below a limit. A range is
appended only if it begins where the file ends and is of the version that the file is a part of.
"""

import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Literal
from urllib.parse import urljoin, urlsplit

import msgspec
import requests
import urllib3

from trtzoo.core.errors import StoreError, UnreachableError
from trtzoo.core.files import encode, read_record
from trtzoo.core.records import SCHEMA, Record
from trtzoo.core.subprocesses import Report, serve

CONNECT = 5  # seconds to wait for a connection
REDIRECTS = 5
VALIDATORS = {"ETag": r'"[!#-~]{1,200}"', "Last-Modified": r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT"}
"""The headers that name a version of a file, the best one first, and what their values look like; a weak ETag is not one."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Receive `url` into `file`, of at most `limit` bytes. Each `block` of bytes may take `patience` seconds."""

    url: str
    file: str
    limit: int
    patience: float
    block: int


class Progress(msgspec.Struct, frozen=True):
    """Bytes in the file, and its whole size; 0: unknown."""

    received: int
    size: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`fault` is why the file is not whole. `resumed`: a part is from before. `answered`: the server sent a response."""

    fault: str = ""
    resumed: bool = False
    answered: bool = False


class Version(Record, frozen=True, kw_only=True):
    """The JSON file beside a partial file: of which address, version and size it is a part."""

    schema: int = SCHEMA
    url: str
    header: Literal["ETag", "Last-Modified"]
    validator: str
    size: int


def version_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def receive(job: Job, report: Report) -> Outcome:
    """Run the job while its server keeps the pace. Raises StoreError if the file cannot be written."""
    transfer = _Transfer(job)
    transfer.start()
    mark, since = 0, time.monotonic()
    while transfer.is_alive():
        transfer.join(0.05)
        report(Progress(transfer.offset + transfer.received, transfer.size))
        if transfer.received >= mark + job.block:
            mark, since = transfer.received, time.monotonic()
        elif time.monotonic() > since + job.patience and transfer.is_alive():
            slow = f"sent {transfer.received - mark:,} bytes in {job.patience:g} s; the least is {job.block:,}"
            return Outcome(fault=f"{urlsplit(job.url).netloc} {slow}.", answered=transfer.answered)
    if transfer.broken:
        raise transfer.broken
    return Outcome(fault=transfer.fault, resumed=transfer.resumed, answered=transfer.answered)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nothing: requests would read the body of each redirect into memory, so `_Transfer` follows them."""


class _Transfer(threading.Thread):
    """The transfer itself, which a server can stop at any point without a word. `broken` is why the file cannot be written."""

    def __init__(self, job: Job) -> None:
        super().__init__(daemon=True)
        self.job, self.file = job, Path(job.file)
        self.offset = self.received = self.size = 0
        self.answered = self.resumed = False
        self.fault, self.broken = "", None

    fault: str
    broken: StoreError | None

    def run(self) -> None:
        try:
            self._transfer()
        except UnreachableError as error:
            self.fault = str(error)
        except Exception as error:  # a hostile server can make the libraries raise anything
            server, name = urlsplit(self.job.url).netloc, Path(urlsplit(self.job.url).path).name
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                self.broken = StoreError(error.strerror or str(error))
                with suppress(OSError):  # a disk may refuse that, too; what stays is not taken for the file
                    self.file.unlink(missing_ok=True)
            elif not self.answered:
                self.fault = f"{server} cannot be reached ({type(error).__name__})."
            elif isinstance(error, urllib3.exceptions.HTTPError):
                self.fault = f"{server} closed the connection during the transfer of {name}."
            else:
                self.fault = f"{server} sent an answer that cannot be used ({type(error).__name__})."

    def _transfer(self) -> None:
        url, version = self.job.url, self._known_version()
        self.offset = self.file.stat().st_size if version else 0
        if version and self.offset == version.size:  # whole, but its process was killed before it was checked
            self.resumed = True
            return
        with _Session() as session:
            response = self._open(session, version)
            if version and response.status_code != 200 and not _continues(response, version, self.offset):
                response, version = self._open(session, None), None
            self.resumed = version is not None and response.status_code == 206
            if response.status_code != (206 if self.resumed else 200):
                raise UnreachableError(f"{url} answered {response.status_code} {shorten(response.reason or '', 100)}.")
            if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                raise UnreachableError(f"{url} sends its file encoded as {shorten(encoding, 100)}, which was not asked for.")
            self._save(response)

    def _known_version(self) -> Version | None:
        """The version of which the file is a part; None if there is nothing to continue."""
        try:
            version = read_record(version_path(self.file), Version)
            known = version.url == self.job.url and 0 < self.file.stat().st_size <= version.size
        except (OSError, StoreError):
            return None
        return version if known and re.fullmatch(VALIDATORS[version.header], version.validator, re.ASCII) else None

    def _open(self, session: requests.Session, version: Version | None) -> requests.Response:
        """The response to a request for the whole file, or for what `version` lacks, after redirects."""
        headers = {"Accept-Encoding": "identity"}
        if version:
            headers |= {"Range": f"bytes={self.offset}-", "If-Range": version.validator}
        url = self.job.url
        for _ in range(REDIRECTS + 1):
            timeout = (CONNECT, 2 * self.job.patience)  # `receive` ends it before that
            response = session.get(url, stream=True, allow_redirects=False, timeout=timeout, headers=headers)
            self.answered = True
            if not response.is_redirect:
                return response
            response.close()
            old, url = url, urljoin(url, response.headers["Location"])
            if urlsplit(url).scheme not in ("https", urlsplit(old).scheme):
                raise UnreachableError(f"{old} redirects to {shorten(url, 100)}, which is less safe and was not followed.")
        raise UnreachableError(f"{self.job.url} redirects more than {REDIRECTS} times.")

    def _save(self, response: requests.Response) -> None:
        """Write what arrives. Raises UnreachableError if that is too much, or not all."""
        length = response.headers.get("Content-Length", "") if "Transfer-Encoding" not in response.headers else ""
        if length and not re.fullmatch(r"\d{1,15}", length, re.ASCII):
            raise UnreachableError(f"{self.job.url} gives {shorten(length, 50)} as its file's length.")
        if not self.resumed:
            self.offset = 0
            self.file.unlink(missing_ok=True)
            self._keep_version(response.headers, int(length or 0))
        self.size = self.offset + int(length or 0)
        too_large = self.size > self.job.limit
        with self.file.open("ab") as output:
            while not too_large and (data := response.raw.read1(1 << 20)):  # `read` would wait for a whole megabyte
                output.write(data)
                output.flush()  # a killed process keeps what it received
                self.received += len(data)
                too_large = self.offset + self.received > self.job.limit
        if too_large:
            self.file.unlink()
            raise UnreachableError(f"{self.job.url} sends more than {self.job.limit:,} bytes, the limit.")
        if length and self.offset + self.received != self.size:
            raise urllib3.exceptions.IncompleteRead(self.received, self.size - self.received)

    def _keep_version(self, headers: "requests.structures.CaseInsensitiveDict[str]", size: int) -> None:
        """Write which version the file will be a part of, if the server names one and its size."""
        version_path(self.file).unlink(missing_ok=True)
        for header, form in VALIDATORS.items():
            if size and re.fullmatch(form, value := headers.get(header, ""), re.ASCII):
                version = {"url": self.job.url, "header": header, "validator": value, "size": size}
                version_path(self.file).write_bytes(encode(msgspec.convert(version, Version)))
                return


def _continues(response: requests.Response, version: Version, offset: int) -> bool:
    """Whether a response is the rest of the version, from `offset` to its end."""
    wanted = f"bytes {offset}-{version.size - 1}/{version.size}"
    same = response.headers.get(version.header, version.validator) == version.validator
    return response.status_code == 206 and response.headers.get("Content-Range") == wanted and same


if __name__ == "__main__":
    serve(Job, lambda job, report, stopped: receive(job, report))
