"""The devkit's meta.mat: read in a process that may die of it."""

import sys

import pytest

from trtzoo.core.errors import DataError
from trtzoo.images import devkit
from trtzoo.images.devkit import read_synsets


def test_a_reader_that_crashes_is_a_refusal(tmp_path, monkeypatch):
    """SciPy's does on some damaged files, not always on the same."""
    crash = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    monkeypatch.setattr(devkit, "module_command", lambda module: crash)
    with pytest.raises(DataError, match=r"meta\.mat is not a file of the devkit \(SciPy's reader died of SIGSEGV"):
        read_synsets(tmp_path / "meta.mat")


def test_a_file_of_another_kind_is_refused_with_scipys_reason(tmp_path):
    meta = tmp_path / "meta.mat"
    meta.write_bytes(b"no matrix" * 100)
    with pytest.raises(DataError, match=r"meta\.mat is not a file of the devkit \(ValueError: Unknown mat file type"):
        read_synsets(meta)
