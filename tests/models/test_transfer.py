"""Downloads that continue, and servers that lie: what is kept, what is asked for again, and what is refused."""

import re
import subprocess
import sys
import time

import pytest

from tests.models.raw_server import honest, serving
from trtzoo.core.errors import UnreachableError, WeightsError
from trtzoo.core.files import cache_folder, read_record, write_record
from trtzoo.models import download
from trtzoo.models.download import fetch
from trtzoo.models.transfer import Version, version_path

URL = "https://weights.example/models/w.pdparams"
BODY = bytes(range(256)) * 512
WHOLE = ["w.json", "w.pdparams"]
PART = [".w.pdparams.partial", ".w.pdparams.partial.json"]
OK = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n"


@pytest.fixture
def mirror(monkeypatch):
    """A server whose `answer` a test chooses."""
    with serving(honest(BODY)) as server:
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        yield server


def cached():
    folder = cache_folder() / "weights.example"
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks") if folder.exists() else []


def partial():
    return cache_folder() / "weights.example" / PART[0]


def interrupted(mirror, *, at=50_000, body=BODY):
    """A download that ended after `at` bytes; the server is honest again."""
    mirror.answer = honest(body, cut=at)
    with pytest.raises(UnreachableError, match=rf"w\.pdparams\. {at:,} bytes are kept: the next download continues there\.$"):
        fetch(URL)
    assert cached() == PART and partial().read_bytes() == body[:at]
    mirror.answer = honest(BODY)
    mirror.requests.clear()


def ranges(mirror):
    return [found[1] if (found := re.search(r"Range: (bytes=\d+-)", request)) else "all" for request in mirror.requests]


# --- continuing ---


def test_an_interrupted_download_continues_where_it_ended(mirror):
    interrupted(mirror)
    assert fetch(URL).read_bytes() == BODY
    assert ranges(mirror) == ["bytes=50000-"]
    assert 'If-Range: "1"' in mirror.requests[0]
    assert cached() == WHOLE


def test_of_an_interrupted_download_that_received_nothing_nothing_is_kept(mirror):
    mirror.answer = honest(BODY, cut=0)
    with pytest.raises(UnreachableError) as error:
        fetch(URL)
    assert "kept" not in str(error.value)
    assert not [path for path in (cache_folder() / "weights.example").iterdir() if path.is_file()]


def test_a_download_whose_process_is_killed_continues(mirror):
    def stall(connection):
        connection.send(OK, 'ETag: "1"\r\n\r\n', BODY[:70_000])
        time.sleep(30)

    mirror.answer = stall
    program = f"from trtzoo.models.download import fetch; fetch({URL!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not partial().exists() or partial().stat().st_size < 50_000:
        time.sleep(0.01)
    process.kill()
    process.wait()
    mirror.answer = honest(BODY)
    assert fetch(URL).read_bytes() == BODY
    assert ranges(mirror)[1].startswith("bytes=")
    assert cached() == WHOLE


def test_a_file_that_has_changed_is_downloaded_from_the_start(mirror):
    interrupted(mirror)
    new = BODY[::-1]
    mirror.answer = honest(new, etag='"2"')
    assert fetch(URL).read_bytes() == new


def test_a_whole_part_is_checked_without_a_request(mirror):
    interrupted(mirror)
    partial().write_bytes(BODY)
    assert fetch(URL).read_bytes() == BODY
    assert mirror.requests == []


def test_a_part_of_another_address_is_not_continued(mirror):
    interrupted(mirror)
    version = read_record(version_path(partial()), Version)
    write_record(version_path(partial()), Version(url="http://x/w", header="ETag", validator='"1"', size=version.size))
    assert fetch(URL).read_bytes() == BODY
    assert ranges(mirror) == ["all"]


@pytest.mark.parametrize(
    "headers",
    ["", "ETag: W/\"1\"\r\n", 'ETag: "1\r\n 2"\r\n', "ETag: 1\r\n", "Last-Modified: yesterday\r\n", f'ETag: "{"x" * 300}"\r\n'],
    ids=["none", "weak", "folded", "bare", "words", "long"],
)  # fmt: skip
def test_without_the_name_of_a_version_nothing_is_kept(mirror, headers):
    mirror.answer = lambda connection: connection.send(OK, headers, "\r\n", BODY[:50_000])
    with pytest.raises(UnreachableError, match=r"closed the connection during the transfer of w\.pdparams\.$"):
        fetch(URL)
    assert cached() == []


def test_a_date_names_a_version_as_well(mirror):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    mirror.answer = lambda connection: connection.send(OK, f"Last-Modified: {date}\r\n\r\n", BODY[:50_000])
    with pytest.raises(UnreachableError, match="are kept"):
        fetch(URL)
    mirror.answer = honest(BODY, etag=date)
    assert fetch(URL).read_bytes() == BODY
    assert ranges(mirror) == ["all", "bytes=50000-"]


# --- lies about ranges ---

RANGES = {
    "another start": "206 X\r\nContent-Range: bytes 40000-131071/131072",
    "another end": "206 X\r\nContent-Range: bytes 50000-60000/131072",
    "another size": "206 X\r\nContent-Range: bytes 50000-131071/131073",
    "no range": "206 X",
    "another version": '206 X\r\nETag: "2"\r\nContent-Range: bytes 50000-131071/131072',
    "416": "416 X\r\nContent-Range: bytes */131072",
    "500": "500 X",
}


@pytest.mark.parametrize("kind", RANGES)
def test_a_range_that_is_not_the_rest_is_not_appended(mirror, kind):
    interrupted(mirror)

    def answer(connection):
        if connection.header("Range"):
            connection.send(f"HTTP/1.1 {RANGES[kind]}\r\nContent-Length: 81072\r\n\r\n", b"!" * 81072)
        else:
            honest(BODY)(connection)

    mirror.answer = answer
    assert fetch(URL).read_bytes() == BODY
    assert ranges(mirror) == ["bytes=50000-", "all"]


def test_parts_of_two_files_are_found_by_the_check_and_downloaded_again(mirror):
    interrupted(mirror, body=b"!" * len(BODY))

    def check(path):
        if path.read_bytes() != BODY:
            raise WeightsError("no checkpoint")

    assert fetch(URL, check=check).read_bytes() == BODY
    assert ranges(mirror) == ["bytes=50000-", "all"]
    assert cached() == WHOLE


def test_a_range_that_nobody_asked_for_is_refused(mirror):
    mirror.answer = lambda connection: connection.send("HTTP/1.1 206 Part\r\nContent-Range: bytes 0-9/10\r\n\r\n0123456789")
    with pytest.raises(UnreachableError, match=r"w\.pdparams answered 206 Part\.$"):
        fetch(URL)


# --- servers that keep nobody waiting for ever ---

ENDLESS = {
    "silence": lambda connection: connection.repeat(b"", 0.05),
    "slow headers": lambda connection: (connection.send("HTTP/1.1 200 OK\r\n"), connection.repeat(b"a: b\r\n", 0.1)),
    "100 Continue": lambda connection: connection.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.01),
    "trailers": lambda connection: (
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n"),
        connection.repeat(b"a: b\r\n", 0.01),
    ),
    "slow body": lambda connection: (connection.send(OK, "\r\n"), connection.repeat(b"!", 0.05)),
    "redirect": lambda connection: (connection.send("HTTP/1.1 302 X\r\nLocation: /\r\n"), connection.repeat(b"a: b\r\n", 0.1)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_server_that_does_not_keep_the_pace_is_left(mirror, monkeypatch, kind):
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    mirror.answer = ENDLESS[kind]
    start = time.monotonic()
    with pytest.raises(UnreachableError):
        fetch(URL)
    assert time.monotonic() < start + 10
    assert cached() == []


def test_a_server_that_stalls_after_a_fast_start_is_left(mirror, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    mirror.answer = lambda connection: (connection.send(OK, 'ETag: "1"\r\n\r\n', BODY[:-9]), connection.repeat(b"", 0.05))
    with pytest.raises(UnreachableError, match=r"sent 131,063 bytes in 0\.5 s; the least is 200,000\. 131,063 bytes are kept"):
        fetch(URL)


def test_the_body_of_a_redirect_is_not_read(mirror):
    def answer(connection):
        if connection.request.startswith("GET /models/"):
            connection.send("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 9999999999\r\n\r\n")
            connection.repeat(b"x" * 65536)
        else:
            honest(BODY)(connection)

    mirror.answer = answer
    start = time.monotonic()
    assert fetch(URL).read_bytes() == BODY
    assert time.monotonic() < start + 10


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("file:///etc/passwd", r"redirects to file:///etc/passwd, which is less safe and was not followed\.$"),
        ("ftp://127.0.0.1/w", r"redirects to ftp://127\.0\.0\.1/w, which is less safe and was not followed\.$"),
        ("/models/w.pdparams", r"redirects more than 5 times\.$"),
        ("http://[::1", r"sent an answer that cannot be used \(ValueError\)\.$"),
    ],
)
def test_only_a_few_redirects_to_web_servers_are_followed(mirror, location, words):
    mirror.answer = lambda connection: connection.send(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")
    with pytest.raises(UnreachableError, match=words):
        fetch(URL)
    assert cached() == []


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ("Content-Length: abc", r"gives abc as its file's length\.$"),
        ("Content-Length: -5", r"gives -5 as its file's length\.$"),
        ("Content-Length: " + "9" * 5000, r"as its file's length\.$"),
        ("Content-Encoding: gzip", r"sends its file encoded as gzip, which was not asked for\.$"),
        ("\r\n".join(["a: b"] * 200), r"cannot be reached \(ConnectionError\)\.$"),
        ("a: " + "b" * 70_000, r"cannot be reached \(ConnectionError\)\.$"),
    ],
    ids=["words", "negative", "long", "gzip", "200 headers", "long header"],
)
def test_an_answer_that_cannot_be_is_refused_in_a_sentence(mirror, headers, words):
    mirror.answer = lambda connection: connection.send(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n", BODY)
    with pytest.raises(UnreachableError, match=words):
        fetch(URL)
    assert cached() == []


# --- the lock ---


def test_a_process_that_waits_says_which_one_downloads_the_file(mirror, tmp_path):
    imports = "from trtzoo.core.console import show_messages; from trtzoo.models.download import fetch"
    program = f"{imports}\nshow_messages()\nfetch({URL!r})"

    def slow(connection):
        time.sleep(4)
        honest(BODY)(connection)

    mirror.answer = slow
    first = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    while not mirror.requests:
        time.sleep(0.02)
    second = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=True, timeout=60)
    assert first.communicate(timeout=60)[1] == ""
    target = cache_folder() / "weights.example" / "w.pdparams"
    assert second.stderr.startswith(f"Waiting for {target}: process {first.pid} (")
    assert second.stderr.endswith(") is writing it.\n")
    assert len(mirror.requests) == 1
