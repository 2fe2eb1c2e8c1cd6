"""The devices of this machine, and how --gpu chooses one."""

import pytest

from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.system import available_cores
from trtzoo.hardware.devices import choose_device, cpu_device, find_device, gpu_devices, slug
from trtzoo.hardware.probes import CudaDevice, ProbeResult

BOX = ProbeResult(
    version="550.54.15, CUDA 12.4",
    devices=(
        CudaDevice(name="Tesla T4", sm=75, memory=16 << 30, bus_id="0000:00:1E.0", uuid="GPU-aa11"),
        CudaDevice(name="NVIDIA A10", sm=86, memory=24 << 30, bus_id="0000:3B:00.0", uuid="GPU-aa22"),
        CudaDevice(name="Tesla T4", sm=75, memory=16 << 30, bus_id="0001:3B:00.0", uuid="GPU-bb33"),
    ),
)


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
    assert cpu.cores == available_cores()
    assert cpu.key.endswith(f"-{cpu.cores}c")


def test_without_a_gpu_auto_is_the_processor_and_a_gpu_is_refused(monkeypatch):
    """With GPUs: tests/cuda/test_bench.py, on the emulated driver."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device("auto") == cpu_device()
    with pytest.raises(MachineError, match=r"There is no Tesla T4 here: no NVIDIA GPU, and the processor is .*--gpu auto"):
        choose_device("t4")


def test_equal_gpus_have_folders_and_titles_of_their_own_and_the_first_has_the_usual_ones():
    assert [(device.key, device.title) for device in gpu_devices(BOX)] == [
        ("tesla-t4", "Tesla T4"),
        ("nvidia-a10", "NVIDIA A10"),
        ("tesla-t4-device2", "Tesla T4 (device 2)"),
    ]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        *((name, 0) for name in (0, "0", "GPU-aa11", "gpu-AA1", "0000:00:1e.0", "00000000:00:1E.0", "00:1E.0")),
        *((name, 1) for name in ("1", "GPU-aa22", "3b:00.0", "0:3b:00.0")),
        *((name, 2) for name in (2, "GPU-b", "0001:3B:00.0", "1:3b:00.0")),
    ],
)
def test_a_gpu_is_named_by_index_uuid_or_bus_id(name, index):
    assert find_device(name, gpu_devices(BOX)).index == index


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("3", "There is no GPU '3' here: "),
        ("GPU-aa", "2 GPUs have a UUID that starts with GPU-aa: "),
        ("GPU-aa33", "There is no GPU 'GPU-aa33' here: "),
        ("01:00.0", "There is no GPU '01:00.0' here: "),
        ("", "There is no GPU '' here: "),
    ],
)
def test_a_gpu_that_is_not_here_is_refused_with_those_that_are(name, problem):
    with pytest.raises(MachineError) as error:
        find_device(name, gpu_devices(BOX))
    assert str(error.value) == (
        f"{problem}device 0: Tesla T4, 0000:00:1E.0, GPU-aa11; device 1: NVIDIA A10, 0000:3B:00.0, GPU-aa22; "
        "device 2: Tesla T4, 0001:3B:00.0, GPU-bb33."
    )


def test_the_processor_is_no_device_of_several():
    with pytest.raises(UsageError, match="--device names a GPU, and --gpu cpu the processor"):
        choose_device("cpu", 0)
