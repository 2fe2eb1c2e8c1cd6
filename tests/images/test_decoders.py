"""Worker processes that decode photographs."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.photographs import class_folders
from trtzoo.core.records import Preprocessing
from trtzoo.core.system import limit_memory
from trtzoo.images.dataset import DataSet, Photograph
from trtzoo.images.decoders import MAX_MEMORY, Decoders

DELETE = """import os, signal
for owner, name in (os, "nice"), (os, "pread"), (os, "pwrite"), (signal, "pthread_sigmask"):
    delattr(owner, name)
"""

SCRIPT = """
import os
from pathlib import Path
from tests.classifier import HOW
from trtzoo.images.dataset import read_dataset
from trtzoo.images.decoders import CropCache, Decoders
assert not hasattr(os, "nice")
if __name__ == "__main__":
    data = read_dataset(Path("data"), classes=2)
    for _ in range(2):
        cache = CropCache(Path("crops"), data, HOW, 8)
        with Decoders(1) as decoders:
            images = list(decoders.stream(data, [0, 1, 2, 3], HOW, 8, cache=cache))
        assert [image.pixels.shape for image in images] == [(8, 8, 3)] * 4, images
        cache.close()
"""


def test_images_are_decoded_and_cached_without_functions_that_windows_lacks(tmp_path):
    class_folders(tmp_path / "data", classes=2, each=2)
    (tmp_path / "sitecustomize.py").write_text(DELETE)
    (tmp_path / "decode.py").write_text(SCRIPT)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "decode.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HOW = Preprocessing(decoder="opencv", interpolation="bilinear", resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1))
linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")


def _images(tmp_path, *contents):
    """A data set of PNGs, and of other contents."""
    photographs = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path) if content is None else path.write_bytes(content)
        photographs.append(Photograph(path))
    return DataSet(folder=tmp_path, photographs=tuple(photographs))


def slow_image():
    """A JPEG of 60 kB with 3,000 progressive scans, each of which costs a pass over 4 million pixels."""
    out = io.BytesIO()
    Image.new("L", (2000, 2000), 128).save(out, "JPEG", progressive=True, quality=50)
    data = out.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 3000 + data[-2:]


def _allocate(*sizes):
    limit_memory(MAX_MEMORY)
    return [_is_allocated(size) for size in sizes]


def _is_allocated(size):
    try:
        return len(bytearray(size)) == size
    except MemoryError:
        return False


@linux
def test_a_worker_cannot_allocate_more_than_its_limit():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_allocate, (100_000_000, MAX_MEMORY + 100_000_000)) == [True, False]


@linux
def test_an_image_that_takes_too_long_is_unreadable_and_the_next_ones_are_decoded(tmp_path):
    data = _images(tmp_path, None, slow_image(), None, None)
    with Decoders(1, seconds=1) as decoders:
        (before,) = decoders.processes
        images = list(decoders.stream(data, [0, 1, 2, 3], HOW, 8))
        assert decoders.processes != [before]
    assert [image.reason for image in images] == ["", "it takes more than 1 s to decode", "", ""]
    assert [int(image.pixels[0, 0, 0]) for image in images if image.pixels is not None] == [0, 2, 3]


def test_a_decoder_that_crashes_is_replaced(tmp_path):
    data = _images(tmp_path, None, None)
    with Decoders(1) as decoders:
        os.kill(decoders.processes[0], signal.SIGSEGV)
        images = list(decoders.stream(data, [0, 1], HOW, 8))
    assert [image.reason for image in images] == ["its decoder crashed (exit status -11)", ""]


@linux
def test_decoders_die_with_a_process_that_is_killed(tmp_path):
    code = (
        "import time; from trtzoo.images.decoders import Decoders\n"
        "if __name__ == '__main__':\n with Decoders(2) as d: print(*d.processes, flush=True); time.sleep(60)"
    )
    (tmp_path / "x.py").write_text(code)
    parent = subprocess.Popen([sys.executable, "x.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in parent.stdout.readline().split()]
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 2
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists() and "Z" not in _state(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
