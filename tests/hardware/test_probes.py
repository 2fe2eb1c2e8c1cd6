"""Probes for libraries and the driver. The driver is a small library that answers queries and runs nothing."""

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
int cuDeviceGetUuid(unsigned char *out, int device) { memset(out, device + 1, 16); return device; }
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


def test_a_driver_reports_its_version_and_devices(driver):
    driver()
    answer = probes.run_probes("cuda")["cuda"]
    assert answer.version.endswith("CUDA 12.4")
    assert [(device.name, device.sm, device.memory, device.bus_id, device.uuid) for device in answer.devices] == [
        ("Tesla T4", 75, 16 << 30, "0000:01:00.0", "GPU-01010101-0101-0101-0101-010101010101"),
        ("NVIDIA A10", 86, 16 << 30, "0000:02:00.0", ""),
    ]


@pytest.mark.parametrize(
    ("start", "version"),
    [("0", "550.54.15, CUDA 12.4"), ("9", "CUDA 12.4"), ("(abort(), 0)", "CUDA 12.4"), ("(sleep(60), 0)", "CUDA 12.4")],
)
def test_the_driver_s_version_comes_from_nvml_and_a_hanging_nvml_costs_only_the_version(driver, tmp_path, start, version):
    driver()
    (tmp_path / "nvml.c").write_text(NVML.replace("START", start))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", tmp_path / "nvml.c"], check=True)
    answer = probes.run_probes("cuda")["cuda"]
    assert answer.version == version
    assert len(answer.devices) == 2


def test_a_driver_whose_init_fails_has_no_devices(driver):
    driver("100")
    assert probes.run_probes("cuda")["cuda"] == probes.ProbeResult(error="the driver's cuInit failed with error 100")


def test_a_driver_that_aborts_fails_its_own_probe_only(driver):
    driver("(abort(), 0)")
    answers = probes.run_probes("cuda", "msgspec")
    assert answers["cuda"].error == "the probe died of SIGABRT: it printed nothing"
    assert answers["msgspec"].version


def test_a_missing_or_broken_library_is_reported(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("import no_such_module_at_all")
    (tmp_path / "old_library.py").write_text("raise ImportError('libold.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    answers = probes.run_probes("absent_library", "broken_library", "old_library")
    assert answers["absent_library"].error == "not installed"
    assert answers["broken_library"].error == "cannot be loaded: No module named 'no_such_module_at_all'"
    assert answers["old_library"].error == "cannot be loaded: libold.so: cannot open shared object file"


def test_onnxruntime_s_features_are_its_providers():
    assert "CPUExecutionProvider" in probes.run_probes("onnxruntime")["onnxruntime"].features
