"""A server on the loopback that sends whatever bytes a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[["Connection"], None]


class Connection:
    """One request: its first bytes as text, and ways to answer it."""

    def __init__(self, plain: socket.socket, hung_up: threading.Event) -> None:
        self._socket, self._hung_up = plain, hung_up
        self.request = ""
        while "\r\n\r\n" not in self.request and (data := plain.recv(1 << 16)):
            self.request += data.decode("latin-1")

    def header(self, name: str) -> str:
        lines = (line.partition(":") for line in self.request.split("\r\n"))
        return next((value.strip() for found, _, value in lines if found.lower() == name.lower()), "")

    def send(self, *parts: bytes | str) -> None:
        for part in parts:
            self._socket.sendall(part.encode("latin-1") if isinstance(part, str) else part)

    def repeat(self, part: bytes, pause: float = 0.0) -> None:
        """Send the same bytes until the client goes or the test ends."""
        while not self._hung_up.wait(pause):
            self.send(part)

    def reset(self) -> None:
        """End with a reset instead of an orderly close."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class RawServer:
    """`answer` is called with each connection; `requests` are their first lines and headers."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.requests = answer, list[str]()
        self._hung_up = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._handle, args=self._listening.accept()[:1], daemon=True).start()

    def _handle(self, plain: socket.socket) -> None:
        with plain, suppress(OSError):  # the client has gone
            plain.settimeout(20)
            connection = Connection(plain, self._hung_up)
            self.requests.append(connection.request)
            self.answer(connection)

    def hang_up(self) -> None:
        """End the connections that repeat something."""
        self._hung_up.set()
        self._hung_up = threading.Event()

    def close(self) -> None:
        self.hang_up()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def serving(answer: Answer) -> Iterator[RawServer]:
    server = RawServer(answer)
    try:
        yield server
    finally:
        server.close()


def honest(body: bytes, *, etag: str = '"1"', cut: int | None = None) -> Answer:
    """A server that knows ranges, and closes the connection after `cut` bytes of the body."""

    def answer(connection: Connection) -> None:
        start = 0
        if connection.header("If-Range") == etag:
            start = int(connection.header("Range").removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            connection.send(f"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{len(body)}\r\n\r\n")
            return
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{len(body) - 1}/{len(body)}" if start else "200 OK"
        connection.send(f"HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {len(body) - start}\r\n\r\n", body[start:][:cut])

    return answer
