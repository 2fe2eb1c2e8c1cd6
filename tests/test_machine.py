"""What this machine has."""

import os

import pytest

from trtzoo import machine
from trtzoo.errors import MachineError


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Tesla T4", "tesla-t4"),
        ("NVIDIA A100-SXM4-40GB", "nvidia-a100-sxm4-40gb"),
        ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "intel-xeon-platinum-8259cl-cpu-2-50ghz"),
        ("AMD EPYC 7B12", "amd-epyc-7b12"),
    ],
)
def test_a_devices_folder_is_its_name_in_plain_letters(name, key):
    assert machine.slug(name) == key


def test_the_processor_has_a_name_cores_and_memory():
    cpu = machine.cpu()
    assert cpu.kind == "cpu" and cpu.name and cpu.memory > 1 << 28
    assert cpu.cores == len(os.sched_getaffinity(0))
    assert cpu.key.endswith(f"-{cpu.cores}c")


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """An nvidia-smi on PATH that answers with the given lines."""

    def install(*lines):
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def test_gpus_are_as_the_driver_names_them(driver):
    driver("Tesla T4, 15360, 550.54.14", "NVIDIA A10, 23028, 550.54.14")
    first, second = machine.gpus()
    assert (first.name, first.key, first.memory, first.driver) == ("Tesla T4", "tesla-t4", 15360 << 20, "550.54.14")
    assert second.name == "NVIDIA A10"


def test_a_gpu_is_chosen_by_its_name_and_auto_takes_the_first(driver):
    driver("Tesla T4, 15360, 550.54.14", "NVIDIA A10, 23028, 550.54.14")
    assert machine.choose("a10").name == "NVIDIA A10"
    assert machine.choose("auto").name == "Tesla T4"
    assert machine.choose("cpu").kind == "cpu"


def test_another_gpu_does_not_pass_for_the_one_that_was_asked_for(driver):
    driver("NVIDIA A100-SXM4-40GB, 40960, 550.54.14")
    with pytest.raises(MachineError, match="There is no Tesla T4 here: NVIDIA A100-SXM4-40GB"):
        machine.choose("t4")
    with pytest.raises(MachineError, match="There is no A10 here"):
        machine.choose("a10")


def test_without_a_gpu_auto_is_the_processor_and_a_gpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.choose("auto") == machine.cpu()
    with pytest.raises(MachineError, match=r"There is no Tesla T4 here: no NVIDIA GPU, and the processor is .*--gpu auto"):
        machine.choose("t4")
