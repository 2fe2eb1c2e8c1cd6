"""What the commands share."""

import pytest

from trtzoo.api import selection
from trtzoo.api.selection import select_runtime
from trtzoo.core.errors import MachineError, UsageError


@pytest.mark.parametrize("runtime", [None, "auto"])
def test_a_device_s_own_runtime_is_the_first_that_is_installed(runtime):
    device, row = select_runtime("cpu", runtime, ["fp32", "fp16"])
    assert (device.kind, row.name) == ("cpu", "onnxruntime")


def test_a_runtime_by_its_name():
    assert select_runtime("cpu", "openvino", ["fp32"])[1].name == "openvino"


def test_a_runtime_of_another_device_is_refused():
    with pytest.raises(UsageError, match=r"^The runtime tensorrt does not run on "):
        select_runtime("cpu", "tensorrt", ["fp32"])


def test_tf32_on_a_processor_is_refused():
    with pytest.raises(UsageError, match=r"^tf32 is a mode of NVIDIA GPUs"):
        select_runtime("cpu", None, ["tf32"])


@pytest.mark.parametrize(
    ("instructions", "timed", "runtime"),
    [("AMX", True, "openvino"), ("AMX", False, "openvino"), ("unknown", True, "openvino"), ("none", False, "onnxruntime")],
)
def test_bf16_is_computed_where_the_processor_has_it_and_emulated_where_nothing_is_timed(
    monkeypatch, instructions, timed, runtime
):
    monkeypatch.setattr(selection, "bf16_instructions", lambda: instructions)
    assert select_runtime("cpu", None, ["fp32", "bf16"], timed=timed)[1].name == runtime


def test_a_processor_without_bf16_times_nothing_in_it(monkeypatch):
    monkeypatch.setattr(selection, "bf16_instructions", lambda: "none")
    for runtime, timed in (("openvino", True), ("openvino", False)):
        with pytest.raises(MachineError, match=r" has no instructions for BF16 \(AVX-512 BF16, AMX or Arm's BF16\)\. Say "):
            select_runtime("cpu", runtime, ["bf16"], timed=timed)
    assert select_runtime("cpu", "onnxruntime", ["bf16"])[1].name == "onnxruntime"
