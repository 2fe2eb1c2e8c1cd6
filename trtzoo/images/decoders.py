"""Decode and crop photographs ahead of the network, in worker processes, and cache the crops on disk if asked.

Workers have the lowest priority: while the network computes they use what it leaves of the cores, and all of them while it
waits for images.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import msgspec
import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.console import log
from trtzoo.core.errors import ImageError, MachineError
from trtzoo.core.records import Preprocessing
from trtzoo.core.system import available_cores, die_with_parent, limit_memory, limit_time
from trtzoo.images.dataset import DataSet
from trtzoo.images.preprocessing import VERSIONS, read_crop

SECONDS = 15  # of a processor that an image may take; one of preprocessing.MAX_PIXELS takes 3
WAIT = 3600  # seconds until a worker that does nothing is replaced: on a busy machine it gets a thousandth of a core
PIXELS, REASON = b"P", b"R"  # how a worker's answer begins
CHUNK_SIZE = 4  # images per task of a worker
CHUNKS_AHEAD = 8  # queued chunks per worker: this bounds memory
MAX_WORKERS = 16
MAX_MEMORY = 1_800_000_000  # bytes that a worker may allocate; an image of preprocessing.MAX_PIXELS takes 1.5 GB in PIL


class CroppedImage(msgspec.Struct, frozen=True):
    """Image `index` of a data set: (size, size, 3) uint8, or the reason why it could not be read."""

    index: int
    pixels: Array | None = None
    reason: str = ""


class CropCache:
    """Crops of one data set and preprocessing in a file, and their checksums in another; a damaged crop counts as missing.

    Crops are written one by one, so an interrupted evaluation keeps them. After an error no more are written.
    """

    def __init__(self, folder: Path, data: DataSet, preprocessing: Preprocessing, size: int) -> None:
        contents = msgspec.json.encode([data.fingerprint, preprocessing, size, VERSIONS])
        stem = folder / hashlib.sha256(contents).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, self._writable = (size, size, 3), True
        paths = stem.with_suffix(".crops"), stem.with_suffix(".sums")
        for path in paths:
            path.touch()
        self._pixels, self._sums = (path.open("r+b", buffering=0) for path in paths)
        self._checksums = np.zeros(len(data.photographs), np.uint64)
        found = np.fromfile(paths[1], np.uint64, count=len(self._checksums))
        self._checksums[: len(found)] = found

    def get(self, indices: list[int]) -> list[CroppedImage] | None:
        """The crops, or None if one is missing or damaged."""
        images, size = [], int(np.prod(self._shape))
        for index in indices:
            self._pixels.seek(index * size)
            data = self._pixels.read(size)
            if _checksum(data) != self._checksums[index]:
                return None
            images.append(CroppedImage(index, np.frombuffer(data, np.uint8).reshape(self._shape)))
        return images

    def put(self, images: list[CroppedImage]) -> None:
        for image in images:
            if image.pixels is None or not self._writable:
                continue
            try:
                data = image.pixels.tobytes()
                self._pixels.seek(image.index * len(data))
                self._pixels.write(data)
                self._checksums[image.index] = _checksum(data)
                self._sums.seek(image.index * 8)
                self._sums.write(self._checksums[image.index].tobytes())
            except OSError as error:
                self._writable = False
                log.warning("Crops are no longer cached: %s.", error.strerror)

    def close(self) -> None:
        self._pixels.close()
        self._sums.close()


def _checksum(data: bytes) -> int:
    """CRC-32 with bit 32 set: never 0, which marks a missing crop."""
    return zlib.crc32(data) | 1 << 32


class Decoders:
    """A pool of worker processes for a `with` block. They ignore Ctrl-C, and end when this process ends, even if killed.

    An image may take `seconds` of a processor. One that takes more, or whose decoder crashes, is unreadable; its worker is
    replaced and the others go on.
    """

    def __init__(self, workers: int | None = None, *, seconds: int = SECONDS) -> None:
        self.workers = workers or min(available_cores(), MAX_WORKERS)
        self._all = [_Worker(seconds) for _ in range(self.workers)]
        self._free = SimpleQueue[_Worker]()
        for worker in self._all:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(self.workers)  # each waits for one worker at a time

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._all:
            worker.close()
        self._threads.shutdown()

    @property
    def processes(self) -> list[int]:
        """The workers' process ids."""
        return [worker.process.pid or 0 for worker in self._all]

    def stream(
        self, data: DataSet, indices: list[int], preprocessing: Preprocessing, size: int, *, cache: CropCache | None = None
    ) -> Iterator[CroppedImage]:
        """The images of `indices` in that order. Raises MachineError if the system kills a worker."""

        def start(first: int) -> list[CroppedImage] | Future[list[CroppedImage]]:
            chunk = indices[first : first + CHUNK_SIZE]
            cached, paths = cache.get(chunk) if cache else None, {index: data.photographs[index].path for index in chunk}
            return cached or self._threads.submit(self._decode, paths, preprocessing, size)

        chunks, queue = map(start, range(0, len(indices), CHUNK_SIZE)), deque[list[CroppedImage] | Future[list[CroppedImage]]]()
        try:
            queue.extend(islice(chunks, CHUNKS_AHEAD * self.workers))
            while queue:
                images = queue.popleft()
                if isinstance(images, Future):
                    images = images.result()
                    if cache:
                        cache.put(images)
                yield from images
                queue.extend(islice(chunks, 1))
        finally:
            for images in queue:
                if isinstance(images, Future):
                    images.cancel()

    def _decode(self, paths: dict[int, Path], preprocessing: Preprocessing, size: int) -> list[CroppedImage]:
        worker = self._free.get()
        try:
            return [worker.decode(index, path, preprocessing, size) for index, path in paths.items()]
        finally:
            self._free.put(worker)


class _Worker:
    """A worker process, and the process that replaces it after an image that it did not survive."""

    def __init__(self, seconds: int) -> None:
        self._seconds, self._closed, self._lock = seconds, False, threading.Lock()
        self._start()

    process: "multiprocessing.process.BaseProcess"

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self._seconds), daemon=True)
        masks = hasattr(signal, "pthread_sigmask")  # Windows has no signal masks: `_work` ignores Ctrl-C later
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
        try:
            self.process.start()  # it never receives Ctrl-C
        finally:
            if masks:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def decode(self, index: int, path: Path, preprocessing: Preprocessing, size: int) -> CroppedImage:
        try:
            self._pipe.send((path, preprocessing, size))
            if self._pipe.poll(WAIT):
                answer = self._pipe.recv_bytes()
                if answer[:1] == PIXELS:
                    return CroppedImage(index, np.frombuffer(answer, np.uint8, offset=1).reshape(size, size, 3))
                return CroppedImage(index, reason=answer[1:].decode(errors="replace"))
        except (EOFError, OSError):
            self.process.join()
        return CroppedImage(index, reason=self._replace())

    def _replace(self) -> str:
        """Start another process in place of the one that hangs or died, and return the reason.

        Raises MachineError if the system, or somebody, killed it.
        """
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            raise MachineError(
                "A process that decodes images died, most likely because the machine ran out of memory. "
                "Finished images are kept. To continue, rerun with --resume"
            )
        with self._lock:
            self.process.kill()
            self.process.join()
            self._pipe.close()
            if not self._closed:
                self._start()
        if code is None:
            return f"it takes more than {WAIT} s to decode"
        slow = code == -getattr(signal, "SIGXCPU", 0)
        return f"it takes more than {self._seconds} s to decode" if slow else f"its decoder crashed (exit status {code})"

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self.process.kill()


# --- in a worker ---


def _work(pipe: Connection, seconds: int) -> None:
    """Answer requests for crops until the parent closes the pipe."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(MAX_MEMORY)
    if hasattr(os, "nice"):
        os.nice(19)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # hide the decoders' warnings; errors are returned as reasons
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            path, preprocessing, size = pipe.recv()
        except EOFError:
            return
        limit_time(seconds)
        try:
            answer = PIXELS + read_crop(path, preprocessing, size).tobytes()
        except ImageError as error:
            answer = REASON + error.reason.encode(errors="replace")
        pipe.send_bytes(answer)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
