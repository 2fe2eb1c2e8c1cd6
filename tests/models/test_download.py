"""Downloads from a local server: each file once, complete, with its hash, shared between processes."""

import hashlib
import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import NOWHERE, Run
from trtzoo.core.errors import StoreError, UsageError, WeightsError
from trtzoo.core.files import cache_folder, sidecar_path
from trtzoo.models import download
from trtzoo.models.download import UnreachableError, fetch
from trtzoo.models.sources import locate
from trtzoo.models.table import find_model

URL = "https://weights.example/models/w.pdparams"
BODY = bytes(range(256)) * 512
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers with `status` and `body`, after `delay` seconds, and records the paths. `claimed` is the content length.

    `drip` is sent again and again after the body.
    """

    daemon_threads = True
    status, body, claimed, delay, drip = 200, BODY, len(BODY), 0.0, b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.claimed))
        self.end_headers()
        self.wfile.write(self.server.body)
        with suppress(OSError):  # the client closes the connection
            while self.server.drip:
                self.wfile.write(self.server.drip)
                time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        yield server
        server.shutdown()


def cached() -> list[str]:
    """The files in the cache, except locks."""
    files = sorted(path for path in cache_folder().rglob("*") if path.is_file())
    return [path.relative_to(cache_folder()).as_posix() for path in files if ".locks" not in path.parts]


def test_a_file_is_downloaded_once(server: Server) -> None:
    path = fetch(URL)
    assert path == cache_folder() / "weights.example" / "w.pdparams"
    assert path.read_bytes() == BODY
    assert fetch(URL) == path
    assert server.paths == ["/models/w.pdparams"]
    assert cached() == ["weights.example/w.json", "weights.example/w.pdparams"]
    assert json.loads(sidecar_path(path).read_text()) == {"schema": 1, "url": URL, "sha256": DIGEST}


def test_a_cached_file_needs_no_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(URL)
    monkeypatch.setenv("TRTZOO_MIRROR", NOWHERE)
    assert fetch(URL) == path


@pytest.mark.parametrize("damage", ["cut", "changed", "no sidecar"])
def test_a_damaged_file_in_the_cache_is_downloaded_again(damage: str, server: Server) -> None:
    path = fetch(URL)
    if damage == "no sidecar":
        sidecar_path(path).unlink()
    else:
        path.write_bytes(BODY[:-1] if damage == "cut" else BODY[:-1] + b"!")
    assert fetch(URL).read_bytes() == BODY
    assert len(server.paths) == 2


def test_a_file_with_another_hash_than_the_publishers_is_deleted(server: Server) -> None:
    assert fetch(URL, sha256_prefix=DIGEST[:8]).read_bytes() == BODY
    other = URL.replace("w.pd", "v.pd")
    with pytest.raises(WeightsError) as caught:
        fetch(other, sha256_prefix="0123abcd")
    assert not isinstance(caught.value, UnreachableError)
    assert str(caught.value) == (
        f"{other} returned a file with sha256 {DIGEST}; the publisher's is 0123abcd…. The file was deleted."
    )
    assert cached() == ["weights.example/w.json", "weights.example/w.pdparams"]


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (503, "503 Service Unavailable")]
)
def test_an_http_error_is_reported_and_leaves_no_file(server: Server, status: int, words: str) -> None:
    server.status = status
    with pytest.raises(UnreachableError) as caught:
        fetch(URL)
    assert str(caught.value) == f"{server.url}/models/w.pdparams answered {words}."
    assert cached() == []


def test_an_http_error_does_not_stop_the_next_download(server: Server) -> None:
    server.status = 404
    with pytest.raises(UnreachableError):
        fetch(URL)
    server.status = 200
    assert fetch(URL).read_bytes() == BODY


def test_an_interrupted_transfer_leaves_no_file(server: Server) -> None:
    server.claimed = len(BODY) + 1
    with pytest.raises(UnreachableError) as caught:
        fetch(URL)
    assert str(caught.value) == f"{server.url.removeprefix('http://')} closed the connection during the transfer of w.pdparams."
    assert cached() == []
    server.claimed = len(BODY)
    assert fetch(URL).read_bytes() == BODY


def test_an_unreachable_server_is_tried_once_in_a_process(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTZOO_MIRROR", NOWHERE)
    messages = []
    for _ in range(2):
        with pytest.raises(UnreachableError) as caught:
            fetch(URL)
        messages.append(str(caught.value))
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
    assert messages == ["127.0.0.1:9 cannot be reached (ConnectionError)."] * 2
    assert server.paths == []


def test_a_cache_that_cannot_be_written_is_a_store_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_folder().write_text("a file where the folder should be")
    with pytest.raises(
        StoreError, match=r"w\.pdparams could not be written: (Not a directory|File exists)\. Nothing was changed"
    ):
        fetch(URL)
    assert server.paths == []


def test_two_processes_download_a_file_once(server: Server, tmp_path: Path) -> None:
    server.delay = 1.0
    program = f"from trtzoo.models.download import fetch; print(fetch({URL!r}))"
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == [
        f"{cache_folder() / 'weights.example' / 'w.pdparams'}\n"
    ] * 2
    assert len(server.paths) == 1


def test_a_killed_download_leaves_no_file(server: Server) -> None:
    server.claimed = len(BODY) * 2
    program = f"from trtzoo.models.download import fetch; fetch({URL!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not server.paths and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (cache_folder() / "weights.example" / "w.pdparams").exists()
    server.claimed = len(BODY)
    assert fetch(URL).read_bytes() == BODY
    assert cached() == ["weights.example/w.json", "weights.example/w.pdparams"]


@pytest.mark.parametrize("quiet", [False, True])
def test_a_progress_bar_is_drawn_on_a_terminal_unless_quiet(
    server: Server, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    program = f"""
from trtzoo.core.console import show_messages
from trtzoo.models.download import fetch
show_messages(quiet={quiet})
fetch({URL!r})
"""
    terminal, stderr = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", program], stderr=stderr, check=True, timeout=60)
        os.write(stderr, b"the end")
        drawn = os.read(terminal, 1 << 16).decode()
    finally:
        os.close(terminal)
        os.close(stderr)
    assert (drawn == "the end") == quiet
    assert ("w.pdparams (MB)" in drawn) != quiet


# --- through the command line ---


def test_an_unreachable_server_of_a_named_source_is_an_error(trtzoo: Run, tmp_path: Path) -> None:
    done = trtzoo("export", "dpn68", "--weights", "paddle")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "trtzoo: 127.0.0.1:9 cannot be reached (ConnectionError).\n"
    assert not (tmp_path / "onnx").exists()


def test_the_default_falls_back_to_seeded_with_an_alert_and_a_record(trtzoo: Run, server: Server, tmp_path: Path) -> None:
    server.status = 404
    done = trtzoo("export", "dpn68", "densenet121", "--input-size", "32")
    reason = f"{server.url}/dygraph/DPN68_pretrained.pdparams answered 404 Not Found."
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SEEDED WEIGHTS") == 1
    assert f"using seeded ones. Latency is valid, accuracy is not.\n{reason}" in done.stderr
    sidecar = json.loads((tmp_path / "onnx" / "dpn68-fp32-s32.json").read_text())
    assert sidecar["weights"]["source"] == sidecar["weights"]["origin"] == "seeded"
    assert sidecar["weights"]["fallback"] == reason
    assert server.paths == ["/dygraph/DPN68_pretrained.pdparams", "/dygraph/DenseNet121_pretrained.pdparams"]


def test_chosen_seeded_weights_cause_no_warning_and_no_request(trtzoo: Run, server: Server, tmp_path: Path) -> None:
    done = trtzoo("export", "dpn68", "--weights", "seeded", "--input-size", "32")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "onnx" / "dpn68-fp32-s32.json").read_text())["weights"]["fallback"] == ""
    assert server.paths == []


def test_ctrl_c_ends_a_download_and_leaves_no_file(server: Server, tmp_path: Path) -> None:
    server.delay = 20
    command = [sys.executable, "-m", "trtzoo.cli", "export", "dpn68", "--weights", "paddle"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    while not server.paths:
        time.sleep(0.02)
    process.send_signal(2)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert cached() == []


def test_a_web_page_instead_of_a_file_is_not_kept(server: Server) -> None:
    server.body = b"<html>Please sign in to this network.</html>"
    server.claimed = len(server.body)
    with pytest.raises(UnreachableError, match=r"w\.pdparams returned a web page instead of a weights file\."):
        fetch(URL)
    assert cached() == []
    server.body, server.claimed = BODY, len(BODY)
    assert fetch(URL).read_bytes() == BODY


@pytest.mark.parametrize(
    "mirror", ["http://[::1", "nonsense", "ftp://mirror.example", "http://", "http://mirror.example:99999"]
)
def test_a_mirror_that_is_no_address_is_a_usage_error(monkeypatch, tmp_path, mirror):
    monkeypatch.setenv("TRTZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRTZOO_MIRROR", mirror)
    with pytest.raises(UsageError, match=r"which is not an address\. Example: https://mirror\.example$"):
        fetch("https://weights.example/w.pdparams")


# --- a hostile mirror ---


@pytest.mark.parametrize(("claimed", "drip"), [(1 << 40, b""), (1 << 40, b"x" * 4096)], ids=["claimed", "sent"])
def test_an_endless_body_ends_at_the_limit(server: Server, monkeypatch: pytest.MonkeyPatch, claimed: int, drip: bytes) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 200_000)
    server.claimed, server.drip = claimed, drip
    with pytest.raises(UnreachableError, match=r"sends more than 200,000 bytes, the limit\.$"):
        fetch(URL)
    assert cached() == []


def test_a_slow_body_ends_after_a_while(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    monkeypatch.setattr(download, "BLOCK", 10_000_000)
    server.claimed, server.drip = 1 << 30, b"x"
    with pytest.raises(UnreachableError, match=r"sent [\d,]+ bytes in 0.3 s; the least is 10,000,000\.$"):
        fetch(URL)
    assert cached() == []


def test_what_a_check_refuses_does_not_enter_the_cache(server: Server) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == BODY
        raise WeightsError("no checkpoint")

    with pytest.raises(WeightsError, match="no checkpoint"):
        fetch(URL, check=refuse)
    assert cached() == []


def test_garbage_from_a_mirror_is_no_checkpoint_and_does_not_enter_the_cache(server: Server) -> None:
    with pytest.raises(WeightsError, match=r"DPN68_pretrained\.pdparams returned a file that is no checkpoint of dpn68: it is"):
        locate(find_model("dpn68"), "paddle")
    assert cached() == []
