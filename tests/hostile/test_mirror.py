"""Hostile mirrors: a download ends, leaves nothing but the whole file or a part of it, and the next one succeeds."""

import gzip
import hashlib
import logging
import shutil
import threading

import pytest

from tests.models.raw_server import honest, serving
from trtzoo.core.errors import TrtzooError, WeightsError
from trtzoo.core.files import cache_folder, read_record, sidecar_path
from trtzoo.models import download
from trtzoo.models.transfer import Version, _Transfer, receive, version_path

URL = "https://weights.example/models/w.pdparams"
BODY = hashlib.shake_256(b"weights").digest(20_000)
LENGTH = f"Content-Length: {len(BODY)}\r\n"
LIMIT, PATIENCE = 100_000, 0.2
OK = "HTTP/1.1 200 OK\r\n"


def sends(*parts):
    """A server that sends these bytes whatever it is asked."""
    return lambda connection: connection.send(*parts)


def for_ever(start, part, pause=0.0):
    """A server that sends `start` and then the same bytes again and again."""
    return lambda connection: (connection.send(start), connection.repeat(part, pause))


def redirects(location, body=b""):
    return sends("HTTP/1.1 302 Found\r\nLocation: ", location, f"\r\nContent-Length: {len(body)}\r\n\r\n", body)


def redirects_once(location):
    """A server that is honest at any other address than the first."""

    def answer(connection):
        first = connection.request.startswith("GET /models/w.pdparams ")
        (redirects(location) if first else honest(BODY))(connection)

    return answer


def ranges(head, rest):
    """A server that is cut off once and then sends anything as the rest."""

    def answer(connection):
        (sends(f"HTTP/1.1 {head}\r\n\r\n", rest) if connection.header("Range") else honest(BODY, cut=5000))(connection)

    return answer


def chunked(*chunks, tail="0\r\n\r\n"):
    parts = (f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    return OK.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts) + tail.encode()


def mutated(random):
    """An honest answer with some bytes changed, doubled or left out, the head more often than the body."""
    text = bytearray(f'{OK}ETag: "1"\r\n{LENGTH}\r\n'.encode() + BODY)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(60 if random.random() < 0.8 else len(text))
        text[at : at + random.randrange(3)] = random.choice([b"", b"\0", b"\r\n", b":", b"9", b" ", random.randbytes(4)])
    return sends(bytes(text))


REST = "206 Partial Content\r\nContent-Range: bytes 5000-19999/20000\r\nContent-Length: 15000"
HTML = b"<!DOCTYPE html><title>Sign in</title>"
LENGTHS = ("abc", "-1", "1e4", "", "\xb2", "5, 6", "0x10", "+5")
ADDRESSES = (
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "data:,x",
    "javascript:1",
    "http://[::1",
    "http://a:b@:0/",
    "http://127.0.0.1:9",
)
NAMES = (
    "/../../../x",
    "//",
    "",
    r"\\h\s",
    "/%0d%0aa: b",
    "http://" + "a" * 300,
    "http://\xff\xfe/",
    "/\x00\x1b[31m",
    "?" * 60_000,
)

KINDS = {
    # honest ones, whose connections end anywhere
    "early close": lambda random: honest(BODY, cut=random.randrange(len(BODY))),
    "early close in the head": lambda random: sends(f"{OK}{LENGTH}\r\n"[: random.randrange(40)]),
    "cut without a length": lambda random: sends(OK, "\r\n", BODY[: random.randrange(len(BODY))]),
    "reset": lambda random: lambda connection: (connection.send(OK, LENGTH, "\r\n", BODY[:9000]), connection.reset()),
    "changed version": lambda random: honest(BODY, etag=f'"{random.random()}"', cut=random.randrange(len(BODY))),
    "mutated": mutated,
    "garbage": lambda random: sends(random.randbytes(random.randrange(3000))),
    # wrong content
    "other content": lambda random: sends(OK, 'ETag: "1"\r\n', LENGTH, "\r\n", random.randbytes(len(BODY))),
    "other content, cut": lambda random: honest(random.randbytes(len(BODY)), cut=random.randrange(1, len(BODY))),
    "web page": lambda random: sends(OK, f"Content-Length: {len(HTML)}\r\n\r\n", HTML),
    "error": lambda random: sends(f"HTTP/1.1 {random.randrange(1000)} \x1b[31mNo\x9b\r\n{LENGTH}\r\n", BODY),
    "empty": lambda random: sends(OK, random.choice(["Content-Length: 0\r\n", ""]), "\r\n"),
    # lengths
    "too short": lambda random: sends(OK, f"Content-Length: {random.randrange(len(BODY))}\r\n\r\n", BODY),
    "too long": lambda random: sends(OK, f"Content-Length: {len(BODY) + random.randrange(1, 99)}\r\n\r\n", BODY),
    "huge": lambda random: sends(OK, f"Content-Length: {10 ** random.randrange(6, 400)}\r\n\r\n", BODY),
    "odd length": lambda random: sends(OK, "Content-Length: ", random.choice(LENGTHS), "\r\n\r\n", BODY),
    "two lengths": lambda random: sends(OK, LENGTH, "Content-Length: 7\r\n\r\n", BODY),
    "length and chunks": lambda random: sends(OK, "Content-Length: 7\r\n", chunked(BODY)[len(OK) :]),
    # encodings
    "chunks": lambda random: sends(chunked(BODY[:9], BODY[9:])),
    "chunk of any size": lambda random: sends(chunked(BODY, tail=f"{random.choice(['-5', 'zz', 'f' * 30, '0' * 70_000])}\r\n")),
    "gzip": lambda random: sends(OK, "Content-Encoding: gzip\r\n\r\n", gzip.compress(BODY)),
    "gzip bomb": lambda random: sends(OK, "Content-Encoding: gzip, gzip\r\n\r\n", gzip.compress(gzip.compress(bytes(10**7)))),
    "odd encoding": lambda random: sends(OK, "Transfer-Encoding: gzip, chunked\r\n\r\n", BODY),
    # no end
    "silence": lambda random: for_ever("", b"", 0.02),
    "slow head": lambda random: for_ever(OK, b"a: b\r\n", 0.02),
    "slow body": lambda random: for_ever(f'{OK}ETag: "1"\r\n{LENGTH}\r\n', b"!", 0.02),
    "endless body": lambda random: for_ever(f"{OK}\r\n", bytes(4096)),
    "endless chunks": lambda random: for_ever(f"{OK}Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + bytes(4096) + b"\r\n"),
    "endless chunk": lambda random: for_ever(f"{OK}Transfer-Encoding: chunked\r\n\r\n", b"0000"),
    "endless trailers": lambda random: for_ever(chunked(BODY, tail="0\r\n").decode("latin-1"), b"a: b\r\n" * 99, 0.001),
    "endless 100": lambda random: for_ever("", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0.001),
    "endless 103": lambda random: for_ever("", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 99, 0.001),
    "endless status": lambda random: for_ever("HTTP/1.1 200 ", b"x" * 4096),
    "header bomb": lambda random: sends(OK, b"a: b\r\n" * 100_000, "\r\n", BODY),
    "long header": lambda random: for_ever(f"{OK}a: ", b"b" * 4096),
    # redirects
    "redirect loop": lambda random: redirects("/models/w.pdparams"),
    "redirect chain": lambda random: redirects(f"/{random.random()}", BODY),
    "redirect anywhere": lambda random: redirects(random.choice(ADDRESSES)),
    "redirect to odd names": lambda random: redirects(random.choice(NAMES)),
    "endless redirect": lambda random: for_ever("HTTP/1.1 301 X\r\nLocation: /\r\n\r\n", bytes(4096)),
    "redirect to the file": lambda random: redirects_once("/elsewhere?name=../../w"),
    # ranges
    "another start": lambda random: ranges(REST.replace("5000-", f"{random.randrange(9000)}-", 1), BODY[5000:]),
    "another rest": lambda random: ranges(REST, random.randbytes(15_000)),
    "rest of another size": lambda random: ranges(REST.replace("/20000", "/30000"), BODY[5000:]),
    "no range": lambda random: ranges("206 Partial Content\r\nContent-Length: 15000", BODY[5000:]),
    "rest of another version": lambda random: ranges(f'{REST}\r\nETag: "2"', BODY[5000:]),
    "416": lambda random: ranges("416 X\r\nContent-Range: bytes */20000\r\nContent-Length: 0", b""),
    "range ignored": lambda random: ranges(f"200 OK\r\n{LENGTH[:-2]}", BODY),
    "many ranges": lambda random: ranges("206 X\r\nContent-Type: multipart/byteranges; boundary=x", b"--x\r\n\r\n" + BODY),
    "range not asked for": lambda random: sends(f"HTTP/1.1 {REST}\r\n\r\n", BODY[5000:]),
    # other protocols
    "HTTP/0.9": lambda random: sends(BODY),
    "HTTP of the future": lambda random: sends(f"HTTP/{random.choice(['2', '9.9', 'x', '1.'])} 200 OK\r\n{LENGTH}\r\n", BODY),
    "TLS": lambda random: sends(b"\x15\x03\x01\x00\x02\x02\x28" + random.randbytes(random.randrange(200))),
    "names": lambda random: sends(OK, LENGTH, 'Content-Disposition: attachment; filename="../../w.pdparams\x00"\r\n\r\n', BODY),
    "folded headers": lambda random: sends(OK, 'ETag: "1\r\n 2\r\n\t3"\r\n', LENGTH, "\r\n", BODY[:9000]),
    "names of versions": lambda random: sends(OK, b"ETag: ", random.randbytes(9), "\r\n", LENGTH, "\r\n", b"x"),
}  # fmt: skip


def check(path):
    if path.read_bytes() != BODY:
        raise WeightsError(f"{path.name} is no checkpoint.")


def assert_nothing_else_is_kept(*, whole):
    """The cache has the whole file with its sidecar, or a part with the name of its version, or nothing."""
    folder = cache_folder() / "weights.example"
    names = {path.name for path in folder.iterdir()} - {".locks"} if folder.exists() else set()
    target, part = folder / "w.pdparams", folder / ".w.pdparams.partial"
    if names == {target.name, sidecar_path(target).name}:
        assert target.read_bytes() == BODY
        assert read_record(sidecar_path(target), download.Download).sha256 == hashlib.sha256(BODY).hexdigest()
    elif names:
        assert not whole
        assert names == {part.name, version_path(part).name}
        assert 0 < part.stat().st_size <= read_record(version_path(part), Version).size <= LIMIT
    else:
        assert not whole


SERVERS = []
"""The server of the trial that runs."""


def attack(random, kinds, monkeypatch):
    """Download from a mirror of some kinds, one after the other, then from an honest one. Raises the first refusal."""
    shutil.rmtree(cache_folder(), ignore_errors=True)
    refusal = None
    with serving(honest(BODY)) as server:
        SERVERS[:] = [server]
        monkeypatch.setenv("TRTZOO_MIRROR", server.url.replace("http", "https") if random.random() < 0.02 else server.url)
        for kind in kinds:
            server.answer = KINDS[kind](random)
            try:
                fetch(patience=PATIENCE, monkeypatch=monkeypatch)
            except TrtzooError as error:
                assert "\n" not in str(error), str(error)
                assert len(str(error)) < 1000, str(error)
                refusal = error
            assert_nothing_else_is_kept(whole=refusal is None)
        server.answer = honest(BODY)
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        assert fetch(patience=20.0, monkeypatch=monkeypatch).read_bytes() == BODY
        assert_nothing_else_is_kept(whole=True)
    if refusal:
        raise refusal


def fetch(*, patience, monkeypatch):
    download._unreachable.clear()  # as in a new process
    monkeypatch.setattr(download, "PATIENCE", patience)
    return download.fetch(URL, check=check)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", LIMIT)
    monkeypatch.setattr(download, "BLOCK", 50_000)


@pytest.fixture
def without_processes(monkeypatch):
    """The child's code in this process, which is ten times as fast."""

    def run(command, job, *, on_progress, **others):
        outcome = receive(job, on_progress)
        for _ in range(20):  # a process would end here; one that waits for a name server does no harm
            SERVERS[0].hang_up()
            for thread in threading.enumerate():
                if isinstance(thread, _Transfer):
                    thread.join(0.05)
        return outcome

    monkeypatch.setattr(download, "run_child", run)
    monkeypatch.setattr(logging.getLogger("urllib3"), "disabled", True)
    for name in ("urllib3.connection", "urllib3.response", "urllib3.connectionpool"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)


def test_a_download_from_any_mirror_ends_and_leaves_no_garbage(trials, small, without_processes, monkeypatch):
    names = list(KINDS)
    for trial in trials("mirror", "downloads", few=len(KINDS), full=2_400):
        with trial:
            first = names[trial.index % len(names)]
            attack(trial.random, [first, *trial.random.choices(names, k=trial.random.randrange(2))], monkeypatch)


def test_a_downloading_process_does_too(trials, small, monkeypatch):
    names = list(KINDS)
    for trial in trials("mirror", "downloading processes", few=2, full=4 * len(KINDS)):
        with trial:
            attack(
                trial.random, [trial.random.choice(names) if trial.index < 4 else names[trial.index % len(names)]], monkeypatch
            )
