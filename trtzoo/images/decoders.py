"""Photographs decoded and cropped ahead of the network, by processes of their own, and kept on disk if wished.

The workers have the lowest priority: on a machine whose cores the network fills they get what it leaves while it computes, and
all of it when it waits for them.
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
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ImageError, MachineError
from trtzoo.core.records import Preprocessing
from trtzoo.core.system import available_cores
from trtzoo.images import preprocessing
from trtzoo.images.dataset import DataSet

CHUNK = 4
"""Images a worker takes at once."""
AHEAD = 8
"""Chunks under way or waiting for the network, for each worker: what bounds memory."""
MOST = 16
"""Workers, unless told otherwise."""


def _settle() -> None:
    os.nice(19)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders' own warnings; what matters comes back as a reason
    preprocessing.one_thread()
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _decode(paths: list[Path], how: Preprocessing, size: int) -> list[Array | str]:
    return [_crop(path, how, size) for path in paths]


def _crop(path: Path, how: Preprocessing, size: int) -> Array | str:
    try:
        return preprocessing.crop(path, how, size)
    except ImageError as error:
        return error.reason
    except MemoryError:
        return "it does not fit into memory"


class CroppedImage(msgspec.Struct, frozen=True):
    """Image `index` of a data set: (size, size, 3) uint8, or why there is none."""

    index: int
    pixels: Array | None = None
    reason: str = ""


class Decoders:
    """Processes that decode, from `with` to its end. They hear no Ctrl-C, which is this process's to handle, and end with it,
    however it ends.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or min(available_cores(), MOST)

    def __enter__(self) -> "Decoders":
        self._pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), initializer=_settle)
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(self.workers):  # each starts a process, which inherits what is blocked
                self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        return self

    @property
    def processes(self) -> list[int]:
        """Their process ids."""
        return list(self._pool._processes)

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def stream(
        self, data: DataSet, indices: list[int], how: Preprocessing, size: int, *, kept: "CropCache | None" = None
    ) -> Iterator[CroppedImage]:
        """The images of `indices` in that order. Raises MachineError where a worker dies."""
        waiting: deque[tuple[list[int], Future[list[Array | str]] | None]] = deque()
        try:
            for at in range(0, len(indices), CHUNK):
                chunk = indices[at : at + CHUNK]
                known = kept is not None and all(map(kept.has, chunk))
                paths = [data.paths[index] for index in chunk]
                waiting.append((chunk, None if known else self._pool.submit(_decode, paths, how, size)))
                if len(waiting) > AHEAD * self.workers:
                    yield from _collected(*waiting.popleft(), kept)
            while waiting:
                yield from _collected(*waiting.popleft(), kept)
        except BrokenProcessPool as error:
            raise MachineError(
                "A process that decodes images died, most likely because the machine ran out of memory. "
                "What was done is kept; to go on: --resume"
            ) from error
        finally:
            for _, future in waiting:
                if future:
                    future.cancel()


def _collected(chunk: list[int], future: Future[list[Array | str]] | None, kept: "CropCache | None") -> Iterator[CroppedImage]:
    if future is None:
        assert kept is not None
        yield from (CroppedImage(index, kept.get(index)) for index in chunk)
        return
    for index, found in zip(chunk, future.result(), strict=True):
        if isinstance(found, str):
            yield CroppedImage(index, reason=found)
            continue
        if kept:
            kept.put(index, found)
        yield CroppedImage(index, found)


class CropCache:
    """Crops of one data set and preprocessing in one file, their checksums in another: one that is not whole is not there.

    Written image by image, so that a broken-off evaluation leaves what it had. `error` says why no more is kept.
    """

    def __init__(self, folder: Path, data: DataSet, how: Preprocessing, size: int) -> None:
        recipe = hashlib.sha256(msgspec.json.encode([data.fingerprint, how, size, preprocessing.VERSIONS])).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, self.error = (size, size, 3), ""
        self._pixels, self._sums = (
            os.open(folder / f"{recipe}.{kind}", os.O_RDWR | os.O_CREAT, 0o644) for kind in ("crops", "sums")
        )
        self._known = np.zeros(len(data), np.uint64)
        read = os.pread(self._sums, self._known.nbytes, 0)
        self._known[: len(read) // 8] = np.frombuffer(read[: len(read) // 8 * 8], np.uint64)

    def has(self, index: int) -> bool:
        """Whether it is there and whole."""
        return bool(self._known[index]) and _checksum(self._bytes(index)) == self._known[index]

    def get(self, index: int) -> Array:
        return np.frombuffer(self._bytes(index), np.uint8).reshape(self._shape)

    def put(self, index: int, pixels: Array) -> None:
        if self.error:
            return
        try:
            os.pwrite(self._pixels, pixels.tobytes(), index * pixels.nbytes)
            self._known[index] = _checksum(pixels.tobytes())
            os.pwrite(self._sums, self._known[index].tobytes(), index * 8)
        except OSError as error:
            self.error = f"Crops are not kept any more: {error.strerror}."

    def close(self) -> None:
        os.close(self._pixels)
        os.close(self._sums)

    def _bytes(self, index: int) -> bytes:
        size = int(np.prod(self._shape))
        return os.pread(self._pixels, size, index * size)


def _checksum(data: bytes) -> int:
    """Never 0, which stands for a crop that is not there."""
    return zlib.crc32(data) | 1 << 32
