"""The devices of this machine, and how --gpu chooses one."""

import os

import pytest

from trtzoo.core.errors import MachineError
from trtzoo.hardware.devices import choose_device, cpu_device, slug


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Tesla T4", "tesla-t4"),
        ("NVIDIA A100-SXM4-40GB", "nvidia-a100-sxm4-40gb"),
        ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "intel-xeon-platinum-8259cl-cpu-2-50ghz"),
        ("AMD EPYC 7B12", "amd-epyc-7b12"),
    ],
)
def test_a_device_s_folder_is_its_name_in_lower_case_and_hyphens(name, key):
    assert slug(name) == key


def test_the_processor_has_name_cores_and_memory():
    cpu = cpu_device()
    assert cpu.kind == "cpu" and cpu.name and cpu.memory > 1 << 28
    assert cpu.cores == len(os.sched_getaffinity(0))
    assert cpu.key.endswith(f"-{cpu.cores}c")


def test_without_a_gpu_auto_is_the_processor_and_a_gpu_is_refused(monkeypatch):
    """With GPUs: tests/cuda/test_bench.py, on the emulated driver."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device("auto") == cpu_device()
    with pytest.raises(MachineError, match=r"There is no Tesla T4 here: no NVIDIA GPU, and the processor is .*--gpu auto"):
        choose_device("t4")
