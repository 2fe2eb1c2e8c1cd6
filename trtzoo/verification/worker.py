"""Compute one network's logits for many images, in this process.

Run as `python -m trtzoo.verification.worker`, by core/subprocesses.py: the request is a LogitsTask, the progress the number
of images that are done, the answer a LogitsResult. The logits go to a file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from trtzoo.artifacts import golden
from trtzoo.artifacts.subjects import Candidate
from trtzoo.core.arrays import Array
from trtzoo.core.errors import DataError
from trtzoo.core.modules import resolve
from trtzoo.core.records import Preprocessing, Record
from trtzoo.core.subprocesses import serve
from trtzoo.runtimes.registry import find_runtime


class ImageInputs(Record, frozen=True, kw_only=True):
    """The network's images: photographs by their paths (as bytes), or without any a number of `synthetic` ones.

    `size` is their height and width; `width` is the width of synthetic ones, if it is another.
    """

    size: int
    width: int = 0
    preprocessing: Preprocessing
    paths: tuple[bytes, ...] = ()
    synthetic: int = 0


class LogitsTask(Record, frozen=True, kw_only=True):
    """The logits of `network` for all inputs go to the .npy file `into`."""

    network: Candidate
    inputs: ImageInputs
    into: str


class LogitsResult(Record, frozen=True, kw_only=True):
    """`bad` maps the numbers of unreadable images to reasons; they have no row in the file."""

    bad: dict[int, str] = msgspec.field(default_factory=dict)
    versions: dict[str, str] = msgspec.field(default_factory=dict)


def compute_logits(task: LogitsTask, on_progress: Callable[[int], None]) -> LogitsResult:
    """Write the logits (N, classes) float32 of the readable images, in order. A smaller last batch is padded."""
    bad: dict[int, str] = {}
    rows: list[Array] = []
    network, size = task.network, task.network.batch or 1
    with closing(
        resolve(find_runtime(network.runtime).opener)(Path(network.artifact), batch=size, **network.options)
    ) as session:
        images = read_images(task.inputs, bad)
        while batch := list(islice(images, size)):
            padded = np.stack(batch + batch[-1:] * (size - len(batch)))
            rows.append(np.array(session.infer(padded)[: len(batch)], np.float32).reshape(len(batch), -1))
            on_progress(sum(map(len, rows)) + len(bad))
        if not rows:
            raise DataError(f"none of {len(bad)} images can be read")
        np.save(task.into, np.concatenate(rows))
        return LogitsResult(bad=bad, versions=session.versions)


def read_images(inputs: ImageInputs, bad: dict[int, str]) -> Iterator[Array]:
    """Every readable image (3, S, S) float32; `bad` receives the others. Processes decode photographs early."""
    if not inputs.paths:
        yield from golden.images(inputs.size, inputs.synthetic, width=inputs.width or None)
        return
    from trtzoo.images.dataset import DataSet, Photograph
    from trtzoo.images.decoders import Decoders
    from trtzoo.images.preprocessing import normalise

    data = DataSet(photographs=tuple(Photograph(Path(os.fsdecode(path))) for path in inputs.paths))
    with Decoders() as decoders:
        for image in decoders.stream(data, list(range(len(inputs.paths))), inputs.preprocessing, inputs.size):
            if image.pixels is None:
                bad[image.index] = image.reason
            else:
                yield normalise(image.pixels[None], inputs.preprocessing)[0]


if __name__ == "__main__":
    serve(LogitsTask, lambda task, report, stopped: compute_logits(task, report))
