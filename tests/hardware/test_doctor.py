"""What a machine can do, judged from its probes' results."""

import pytest

from trtzoo.cli.describing import doctor_text
from trtzoo.hardware.doctor import diagnose
from trtzoo.hardware.probes import CudaDevice, ProbeResult

GONE = ProbeResult(error="not installed")
T4 = CudaDevice(name="Tesla T4", sm=75, memory=16 << 30)
V100 = CudaDevice(name="Tesla V100-SXM2-16GB", sm=70, memory=16 << 30)
TARGETS = "t4, t4g, a10, a10g, rtx3080, rtx3090, rtxa2000, rtxa4000, rtxa5000, rtxa6000"
SINCE = "tf32 and bf16 from SM80 on, fp8 from SM89 on"
DRIVER = "550.54.15, CUDA 12.4"


def found(**changes):
    return {
        "torch": ProbeResult(version="2.13.0"),
        "onnx": ProbeResult(version="1.23.2"),
        "onnxruntime": ProbeResult(version="1.32.0", features=("AzureExecutionProvider", "CPUExecutionProvider")),
        "tensorrt": GONE,
        "tensorrt_rtx": ProbeResult(version="1.7.1.116", features=("SM75", "SM86")),
        "cuda": ProbeResult(error="no NVIDIA driver"),
        "pycuda": GONE,
    } | changes


def ability(name, free=1 << 40, **changes):
    row = next(row for row in diagnose(found(**changes), free=free).abilities if row.name == name)
    return row.can, row.why, row.remedy


def test_a_machine_without_a_gpu_exports_builds_ahead_of_time_and_runs_onnx():
    assert ability("export") == (True, "the ten networks to ONNX, checked", "")
    assert ability("build ahead of time") == (
        True,
        f"TensorRT-RTX 1.7.1.116 for {TARGETS}; {SINCE}",
        "",
    )
    assert ability("build for this GPU") == (False, "no NVIDIA driver", "use a machine with an NVIDIA GPU")
    assert ability("run ONNX files") == (True, "ONNX Runtime 1.32.0 on CPU", "")
    assert ability("run engines") == (False, "no NVIDIA driver", "use a machine with an NVIDIA GPU")


def test_a_t4_with_everything_builds_and_runs():
    here = {
        "tensorrt": ProbeResult(version="11.4.0.106"),
        "cuda": ProbeResult(version=DRIVER, devices=(T4,)),
        "pycuda": ProbeResult(version="2026.1"),
    }
    assert ability("build for this GPU", **here) == (True, "TensorRT 11.4.0.106 for Tesla T4: fp32, fp16, int8", "")
    assert ability("run engines", **here) == (True, "TensorRT and TensorRT-RTX on Tesla T4", "")


def test_a_gpu_without_tensorrt_or_pycuda_says_what_to_install():
    here = {"cuda": ProbeResult(version=DRIVER, devices=(T4,))}
    assert ability("build for this GPU", **here) == (False, "TensorRT is not installed", "trtzoo setup")
    assert ability("run engines", **here) == (False, "PyCUDA is not installed", "trtzoo setup")


def test_a_v100_with_a_new_tensorrt_says_which_one_to_install():
    here = {"cuda": ProbeResult(version=DRIVER, devices=(V100,)), "tensorrt": ProbeResult(version="11.4.0.106")}
    can, why, remedy = ability("build for this GPU", **here)
    assert not can
    assert why.startswith("TensorRT 11.4.0.106 does not build for Tesla V100 (SM70): 10.4 was the last that does.")
    assert remedy == "trtzoo setup"


def test_a_jetson_is_told_that_it_is_not_supported():
    here = {"cuda": ProbeResult(version=DRIVER, devices=(CudaDevice(name="Orin", sm=87, memory=64 << 30),))}
    assert ability("build for this GPU", **here) == (
        False,
        "Jetson Orin is not supported: its TensorRT is part of JetPack, which trtzoo neither installs nor tests",
        "use a machine with another NVIDIA GPU",
    )


OLD_DRIVER = "470.57.02, CUDA 11.4"
OLD = {"cuda": ProbeResult(version=OLD_DRIVER, devices=(T4,))}
NEW_STACK = {
    "torch": ProbeResult(version="2.13.0", cuda="13.0"),
    "onnxruntime": ProbeResult(version="1.31.1", cuda="13.0", features=("CUDAExecutionProvider", "CPUExecutionProvider")),
    "tensorrt": ProbeResult(version="11.4.0.106", cuda="12"),
    "tensorrt_rtx": ProbeResult(version="1.7.1.116", cuda="12", features=("SM75",)),
    "pycuda": ProbeResult(version="2026.1", cuda="12.0"),
}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "build for this GPU",
            f"TensorRT 11.4.0.106: CUDA 12 needs driver r525 or later, and driver {OLD_DRIVER} is here",
        ),
        ("run engines", f"PyCUDA 2026.1: CUDA 12 needs driver r525 or later, and driver {OLD_DRIVER} is here"),
        (
            "run ONNX on this GPU",
            f"ONNX Runtime 1.31.1: CUDA 13 needs driver r580 or later, and driver {OLD_DRIVER} is here",
        ),
        (
            "run PyTorch on this GPU",
            f"PyTorch 2.13.0: CUDA 13 needs driver r580 or later, and driver {OLD_DRIVER} is here",
        ),
    ],
)
def test_a_driver_that_is_too_old_can_neither_build_nor_run_and_the_one_to_install_is_named(name, why):
    assert ability(name, **OLD, **NEW_STACK) == (
        False,
        why,
        f"Driver {OLD_DRIVER} of Tesla T4 is too old: TensorRT's packages need CUDA 12, which runs on driver r525 and later. "
        "Install driver r580 or later, or use the CPU: trtzoo setup --target cpu",
    )


@pytest.mark.parametrize(
    ("driver", "can"),
    [
        ("528.24", {"run engines"}),  # TensorRT-RTX; TensorRT 11 needs r535
        ("550.54.15", {"run engines", "build for this GPU"}),
        ("580.65.06", {"run engines", "build for this GPU", "run ONNX on this GPU", "run PyTorch on this GPU"}),
    ],
)
def test_each_library_is_judged_by_the_cuda_that_it_is_built_for(driver, can):
    cuda = ProbeResult(version=f"{driver}, CUDA 12.0", devices=(T4,))
    report = diagnose(found(**NEW_STACK, cuda=cuda), free=1 << 40)
    rows = [row for row in report.abilities if "GPU" in row.name or row.name == "run engines"]
    assert {row.name for row in rows if row.can} == can
    assert {row.remedy for row in rows if not row.can} <= {"trtzoo setup"}


def test_libraries_without_cuda_and_providers_that_do_not_load_are_named():
    here = {"cuda": ProbeResult(version="580.65.06, CUDA 13.0", devices=(T4,))}
    assert ability("run PyTorch on this GPU", **here)[1] == "PyTorch 2.13.0 is built without CUDA"
    assert ability("run ONNX on this GPU", **here)[1:] == ("ONNX Runtime 1.32.0 is built without CUDA", "trtzoo setup")
    broken = ProbeResult(
        version="1.31.1",
        cuda="13.0",
        features=("CPUExecutionProvider",),
        unusable={"CUDAExecutionProvider": "libcublasLt.so.13: cannot open shared object file"},
    )
    problem = "CUDAExecutionProvider does not load: libcublasLt.so.13: cannot open shared object file"
    assert ability("run ONNX on this GPU", **here, onnxruntime=broken)[1] == problem
    assert ability("run ONNX files", **here, onnxruntime=broken) == (True, "ONNX Runtime 1.31.1 on CPU", "")
    report = diagnose(found(**here, onnxruntime=broken), free=1 << 40)
    assert f"onnxruntime             1.31.1 for CUDA 13.0  CPUExecutionProvider  {problem}" in doctor_text(report, 1000)


def test_what_is_missing_for_export_is_named():
    torch = ProbeResult(error="cannot be loaded: libtorch.so")
    assert ability("export", torch=torch, onnx=GONE) == (
        False,
        "torch cannot be loaded: libtorch.so; onnx not installed",
        "trtzoo setup",
    )


def test_a_small_disk_is_reported():
    assert ability("keep all files", free=3_000_000_000) == (
        False,
        "3 GB free; the ten networks in FP32 and FP16 take about 10 GB",
        "use a folder on a larger disk",
    )


def test_the_text_has_a_line_for_each_ability():
    report = diagnose(found(), free=1 << 40)
    assert doctor_text(report, 1000).split("\n\n")[1] == (
        "export                  yes  the ten networks to ONNX, checked\n"
        f"build ahead of time     yes  TensorRT-RTX 1.7.1.116 for {TARGETS}; {SINCE}\n"
        "run ONNX files          yes  ONNX Runtime 1.32.0 on CPU\n"
        "build for this GPU      no   no NVIDIA driver\n"
        "run engines             no   no NVIDIA driver\n"
        "run ONNX on this GPU    no   no NVIDIA driver\n"
        "run PyTorch on this GPU no   no NVIDIA driver\n"
        "keep all files          yes  1100 GB free; the ten networks in FP32 and FP16 take about 10 GB"
    )
