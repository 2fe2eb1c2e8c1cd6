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
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ImageError, MachineError
from trtzoo.core.records import Preprocessing
from trtzoo.core.system import available_cores
from trtzoo.images.dataset import DataSet
from trtzoo.images.preprocessing import VERSIONS, read_crop

CHUNK_SIZE = 4  # images per task of a worker
CHUNKS_AHEAD = 8  # queued chunks per worker: this bounds memory
MAX_WORKERS = 16


class CroppedImage(msgspec.Struct, frozen=True):
    """Image `index` of a data set: (size, size, 3) uint8, or the reason why it could not be read."""

    index: int
    pixels: Array | None = None
    reason: str = ""


class CropCache:
    """Crops of one data set and preprocessing in a file, and their checksums in another; a damaged crop counts as missing.

    Crops are written one by one, so an interrupted evaluation keeps them. `error` is why no more are written, if that failed.
    """

    def __init__(self, folder: Path, data: DataSet, preprocessing: Preprocessing, size: int) -> None:
        contents = msgspec.json.encode([data.fingerprint, preprocessing, size, VERSIONS])
        stem = folder / hashlib.sha256(contents).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, self.error = (size, size, 3), ""
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

    def put(self, index: int, pixels: Array) -> None:
        if self.error:
            return
        try:
            self._pixels.seek(index * pixels.nbytes)
            self._pixels.write(pixels.tobytes())
            self._checksums[index] = _checksum(pixels.tobytes())
            self._sums.seek(index * 8)
            self._sums.write(self._checksums[index].tobytes())
        except OSError as error:
            self.error = f"Crops are no longer cached: {error.strerror}."

    def close(self) -> None:
        self._pixels.close()
        self._sums.close()


def _checksum(data: bytes) -> int:
    """CRC-32 with bit 32 set: never 0, which marks a missing crop."""
    return zlib.crc32(data) | 1 << 32


class Decoders:
    """A pool of worker processes for a `with` block. They ignore Ctrl-C, and end when this process ends, even if killed."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or min(available_cores(), MAX_WORKERS)

    def __enter__(self) -> "Decoders":
        self._pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
        with _interrupts_blocked():
            for _ in range(self.workers):  # each submission starts a process
                self._pool.submit(os.getpid)
        return self

    @property
    def processes(self) -> list[int]:
        """The workers' process ids."""
        return list(self._pool._processes)

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def stream(
        self, data: DataSet, indices: list[int], preprocessing: Preprocessing, size: int, *, cache: CropCache | None = None
    ) -> Iterator[CroppedImage]:
        """The images of `indices` in that order. Raises MachineError if a worker dies."""
        queue: deque[list[CroppedImage] | Future[list[CroppedImage]]] = deque()
        try:
            for start in range(0, len(indices), CHUNK_SIZE):
                chunk = indices[start : start + CHUNK_SIZE]
                cached, paths = cache.get(chunk) if cache else None, {index: data.photographs[index].path for index in chunk}
                queue.append(cached or self._pool.submit(_decode, paths, preprocessing, size))
                if len(queue) > CHUNKS_AHEAD * self.workers:
                    yield from _collect(queue.popleft(), cache)
            while queue:
                yield from _collect(queue.popleft(), cache)
        except BrokenProcessPool as error:
            raise MachineError(
                "A process that decodes images died, most likely because the machine ran out of memory. "
                "Finished images are kept. To continue, rerun with --resume"
            ) from error
        finally:
            for images in queue:
                if isinstance(images, Future):
                    images.cancel()


def _collect(images: list[CroppedImage] | Future[list[CroppedImage]], cache: CropCache | None) -> Iterator[CroppedImage]:
    """The images of a chunk; decoded ones go to the cache."""
    if isinstance(images, list):
        yield from images
        return
    for image in images.result():
        if cache and image.pixels is not None:
            cache.put(image.index, image.pixels)
        yield image


# --- in a worker ---


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that start meanwhile never receive Ctrl-C. Windows has no signal masks: `_start_worker` ignores it later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(19)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # hide the decoders' warnings; errors are returned as reasons
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _decode(paths: dict[int, Path], preprocessing: Preprocessing, size: int) -> list[CroppedImage]:
    images = []
    for index, path in paths.items():
        try:
            images.append(CroppedImage(index, read_crop(path, preprocessing, size)))
        except ImageError as error:
            images.append(CroppedImage(index, reason=error.reason))
    return images
