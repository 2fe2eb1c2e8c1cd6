"""What the commands share."""

import pytest

from trtzoo.api.selection import select_runtime
from trtzoo.core.errors import UsageError


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
