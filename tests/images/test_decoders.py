"""Worker processes that decode photographs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.photographs import class_folders
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


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_worker_cannot_allocate_more_than_its_limit():
    with Decoders(1) as decoders:
        assert decoders.submit(_allocate, 100_000_000).result() == "allocated"
        assert decoders.submit(_allocate, MAX_MEMORY).result() == "refused"


def _allocate(size):
    try:
        bytearray(size)
    except MemoryError:
        return "refused"
    return "allocated"
