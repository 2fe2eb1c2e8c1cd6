"""What is installed and plugged in. The driver is played by a small library: only names are asked of it, nothing runs."""

import os
import subprocess
import sys

import pytest

from trtzoo.hardware import probes

DRIVER = """
#include <string.h>
#include <stddef.h>
int cuInit(int flags) { return FAULT; }
int cuDriverGetVersion(int *out) { *out = 12040; return 0; }
int cuDeviceGetCount(int *out) { *out = 2; return 0; }
int cuDeviceGet(int *out, int index) { *out = index; return 0; }
int cuDeviceGetName(char *out, int size, int device) { strcpy(out, device ? "NVIDIA A10" : "Tesla T4"); return 0; }
int cuDeviceGetPCIBusId(char *out, int size, int device) { strcpy(out, device ? "0000:02:00.0" : "0000:01:00.0"); return 0; }
int cuDeviceTotalMem_v2(size_t *out, int device) { *out = (size_t)16 << 30; return 0; }
int cuDeviceGetAttribute(int *out, int code, int device) { *out = code == 75 ? 7 + device : device ? 6 : 5; return 0; }
"""


NVML = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int nvmlInit_v2(void) { return START; }
int nvmlSystemGetDriverVersion(char *out, int size) { strcpy(out, "550.54.15"); return 0; }
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """`driver(fault)`: a libcuda with a T4 and an A10, whose cuInit gives `fault`; "abort()" aborts."""

    def make(fault="0"):
        (tmp_path / "driver.c").write_text(f"#include <stdlib.h>\n{DRIVER}")
        library = tmp_path / "libcuda.so.1"
        command = ["gcc", "-shared", "-fPIC", f"-DFAULT={fault}", "-o", library, tmp_path / "driver.c"]
        subprocess.run(command, check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))

    return make


def test_a_driver_tells_its_version_and_devices(driver):
    driver()
    answer = probes.run_probes("cuda")["cuda"]
    assert answer.version.endswith("CUDA 12.4")
    assert [(device.name, device.sm, device.memory, device.bus_id) for device in answer.devices] == [
        ("Tesla T4", 75, 16 << 30, "0000:01:00.0"),
        ("NVIDIA A10", 86, 16 << 30, "0000:02:00.0"),
    ]


@pytest.mark.parametrize(
    ("start", "version"),
    [("0", "550.54.15, CUDA 12.4"), ("9", "CUDA 12.4"), ("(abort(), 0)", "CUDA 12.4"), ("(sleep(60), 0)", "CUDA 12.4")],
)
def test_the_drivers_own_number_is_nvmls_and_nothing_hangs_or_dies_with_it(driver, tmp_path, start, version):
    driver()
    (tmp_path / "nvml.c").write_text(NVML.replace("START", start))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", tmp_path / "nvml.c"], check=True)
    answer = probes.run_probes("cuda")["cuda"]
    assert answer.version == version
    assert len(answer.devices) == 2


def test_a_driver_that_answers_with_an_error_has_no_devices(driver):
    driver("100")
    assert probes.run_probes("cuda")["cuda"] == probes.ProbeResult(error="the driver answers cuInit with error 100")


def test_a_driver_that_aborts_costs_only_its_own_answer(driver):
    driver("(abort(), 0)")
    answers = probes.run_probes("cuda", "msgspec")
    assert answers["cuda"].error == "the probe ended with status -6: it said nothing"
    assert answers["msgspec"].version


def test_a_library_that_is_not_there_or_broken_says_so(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("import no_such_module_at_all")
    (tmp_path / "old_library.py").write_text("raise ImportError('libold.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    answers = probes.run_probes("absent_library", "broken_library", "old_library")
    assert answers["absent_library"].error == "not installed"
    assert answers["broken_library"].error == "cannot be loaded: No module named 'no_such_module_at_all'"
    assert answers["old_library"].error == "cannot be loaded: libold.so: cannot open shared object file"


def test_onnxruntime_tells_its_providers():
    assert "CPUExecutionProvider" in probes.run_probes("onnxruntime")["onnxruntime"].features
