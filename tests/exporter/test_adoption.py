"""Adoption in a process that may die of the file."""

import signal
import sys

import pytest

from tests.foreign import cnn
from trtzoo.api.adopting import adoption_orders, open_foreign
from trtzoo.exporter import adoption, adoption_worker


@pytest.fixture
def file(tmp_path):
    return open_foreign(cnn(tmp_path / "mine.onnx"))


def test_the_process_gives_the_results_that_adoption_gives_here(file, tmp_path):
    orders = adoption_orders(file, ["fp32", "fp16"])
    there = adoption.adopt(file, orders, tmp_path / "there")
    here = list(adoption_worker.adopt(file, orders, tmp_path / "here"))
    for one, other in zip(there, here, strict=True):
        assert one.order == other.order and one.path.name == other.path.name
        assert one.sidecar == other.sidecar and one.error == "" and one.seconds > 0
        assert one.path.read_bytes() == other.path.read_bytes()
    assert [again.up_to_date for again in adoption.adopt(file, orders, tmp_path / "there")] == [True, True]


def test_a_process_that_crashes_fails_each_order_with_the_reason(file, tmp_path, monkeypatch):
    crash = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"]
    monkeypatch.setattr(adoption, "module_command", lambda module: crash)
    failed = adoption.adopt(file, adoption_orders(file, ["fp32", "fp16"]), tmp_path / "onnx")
    assert [each.path.name[-9:] for each in failed] == ["fp32.onnx", "fp16.onnx"]
    for each in failed:
        assert each.sidecar is None
        assert each.error.startswith(f"{file.path} cannot be read: the process that read it died of SIGSEGV")
    assert not (tmp_path / "onnx").exists()
