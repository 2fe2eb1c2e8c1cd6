"""One network's logits over many images, in this process.

Run as `python -m trtzoo.verification.worker`: a LogitsTask as JSON on stdin; on stdout the number of images done after each
batch, then the LogitsResult as JSON. The logits are in the file that the task names.
"""

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trtzoo.artifacts import golden
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ImageError, TrtzooError
from trtzoo.core.modules import resolve
from trtzoo.core.records import Preprocessing, Record
from trtzoo.core.system import available_cores
from trtzoo.runtimes.registry import Session, find_runtime

Picture = Array | ImageError


class LogitsTask(Record, frozen=True, kw_only=True):
    """`paths` are photographs, as the system's bytes; without any there are `synthetic` images instead. `into`: a .npy file."""

    runtime: str
    artifact: str
    batch: int
    size: int
    preprocessing: Preprocessing
    into: str
    options: dict[str, bool | int] = msgspec.field(default_factory=dict)
    paths: tuple[bytes, ...] = ()
    synthetic: int = 0


class LogitsResult(Record, frozen=True, kw_only=True):
    """`bad` are the numbers of photographs that cannot be read, with the reason: they have no row in the file.

    `error` says why there is no file.
    """

    bad: dict[int, str] = msgspec.field(default_factory=dict)
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    error: str = ""


def answer(task: LogitsTask, tell: Any = lambda done: None) -> LogitsResult:
    """Write the logits (N, classes) float32 of the good images, in order; `tell` hears how many are done."""
    bad: dict[int, str] = {}
    try:
        session = resolve(find_runtime(task.runtime).opener)(Path(task.artifact), batch=task.batch, **task.options)
    except TrtzooError as error:
        return LogitsResult(error=str(error))
    try:
        rows: list[Array] = []
        for images in _batches(good(pictures(task), bad), task.batch):
            rows.append(_infer(session, images, task.batch))
            tell(sum(map(len, rows)) + len(bad))
        if not rows:
            return LogitsResult(bad=bad, error=f"none of {len(bad)} images can be read")
        np.save(task.into, np.concatenate(rows))
        return LogitsResult(bad=bad, versions=session.versions)
    except TrtzooError as error:
        return LogitsResult(error=str(error))
    finally:
        session.close()


def _infer(session: Session, images: Array, batch: int) -> Array:
    """The logits of at most `batch` images; a smaller batch is filled up with its last image."""
    full = np.concatenate([images, np.repeat(images[-1:], batch - len(images), axis=0)])
    return np.array(session.infer(full)[: len(images)], np.float32)


def _batches(images: Iterator[Array], size: int) -> Iterator[Array]:
    while several := list(islice(images, size)):
        yield np.stack(several)


def good(found: Iterable[Picture], bad: dict[int, str]) -> Iterator[Array]:
    """The images that can be read; the others' numbers go to `bad`."""
    for number, image in enumerate(found):
        if isinstance(image, ImageError):
            bad[number] = image.reason
        else:
            yield image


def pictures(task: LogitsTask) -> Iterator[Picture]:
    """Photographs are decoded by threads, some ahead of the network."""
    if not task.paths:
        yield from golden.images(task.size, task.synthetic)
        return
    image = resolve("trtzoo.images.preprocessing:read_image")
    resolve("trtzoo.images.preprocessing:use_one_thread")()

    def decode(path: bytes) -> Picture:
        try:
            return np.asarray(image(Path(os.fsdecode(path)), task.preprocessing, task.size))
        except ImageError as error:
            return error

    paths, waiting = iter(task.paths), deque[Future[Picture]]()
    with ThreadPoolExecutor(available_cores()) as threads:
        waiting.extend(threads.submit(decode, path) for path in islice(paths, max(2 * task.batch, 8)))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(decode, path) for path in islice(paths, 1))


def main() -> None:
    """The child process. Whatever a runtime prints goes to stderr."""
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        task = msgspec.json.decode(sys.stdin.buffer.read(), type=LogitsTask)
        found = answer(task, lambda done: out.write(b"%d\n" % done))
        out.write(msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    main()
