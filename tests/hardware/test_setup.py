"""What `trtzoo setup` installs, planned from a machine's probes."""

import subprocess
import sys

import pytest

from trtzoo.core.errors import MachineError, TrtzooError, UsageError
from trtzoo.hardware import setup
from trtzoo.hardware.probes import CudaDevice, ProbeResult

T4 = CudaDevice(name="Tesla T4", sm=75, memory=16 << 30)
HERE = ProbeResult(version="580.65.06, CUDA 13.0", devices=(T4,))
NOTHING = ProbeResult(error="no NVIDIA driver")


def commands(target="auto", cuda=HERE, installed=(), pycuda_loads=False):
    return [step.text for step in setup.plan(target, cuda, installed, pycuda_loads=pycuda_loads)]


def test_a_t4_gets_the_stack_of_its_driver_and_pycuda():
    assert commands() == [
        "pip install 'tensorrt-cu12>=10.8' 'onnxruntime-gpu[cuda,cudnn]>=1.23' 'torch>=2.11' nvidia-ml-py",
        "compile and install pycuda==2026.1",
    ]


def test_a_pycuda_that_loads_is_not_compiled_again():
    assert len(commands(pycuda_loads=True)) == 1


def test_tensorrt_rtx_takes_the_place_of_tensorrt():
    assert commands("rtx-gpu")[0].split()[2] == "tensorrt-rtx-cu12"


def test_a_machine_without_a_gpu_gets_the_packages_for_the_cpu():
    assert commands(cuda=NOTHING) == ["pip install torch onnxruntime openvino tensorrt-rtx-cu12"]
    assert commands("cpu") == commands(cuda=NOTHING)


@pytest.mark.parametrize(("target", "other"), [("gpu", "onnxruntime"), ("cpu", "onnxruntime-gpu")])
def test_both_onnx_runtimes_go_before_the_right_one_is_installed(target, other):
    first = commands(target, installed={other, "numpy"})[0]
    assert first == "pip uninstall --yes onnxruntime onnxruntime-gpu"


def test_a_gpu_target_without_a_gpu_is_refused():
    with pytest.raises(MachineError, match=r"^There is no NVIDIA GPU to set up for: no NVIDIA driver\.$"):
        commands("gpu", cuda=NOTHING)


def test_an_unknown_target_is_a_usage_error():
    with pytest.raises(UsageError, match="There is no target 'tpu'"):
        commands("tpu")


def test_a_step_that_fails_ends_the_setup():
    steps = [
        setup.Step("a package that does not exist", ("install", "--no-index", "no-such-package-of-trtzoo")),
        setup.Step("no"),
    ]
    seen = []
    with pytest.raises(TrtzooError, match="pip install --no-index no-such-package-of-trtzoo failed with status 1"):
        setup.carry_out(steps, None, seen.append)
    assert seen == steps[:1]


def test_the_steps_go_to_this_python_with_the_constraints(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(setup, "run_tool", lambda command: calls.append(command) or subprocess.CompletedProcess(command, 0))
    steps = [setup.Step("", ("uninstall", "--yes", "onnxruntime")), setup.Step("", ("install", "torch"))]
    setup.carry_out(steps, tmp_path / "constraints.txt", lambda step: None)
    assert [command[0] for command in calls] == [sys.executable] * 2
    assert [command[-2:] for command in calls] == [
        ["--yes", "onnxruntime"],
        ["--constraint", str(tmp_path / "constraints.txt")],
    ]
