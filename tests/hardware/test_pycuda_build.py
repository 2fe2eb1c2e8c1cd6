"""PyCUDA without a CUDA toolkit. The build itself is tested by every test on the emulated driver, whose PyCUDA it makes."""

import sys
import sysconfig

import pytest

from trtzoo.core.errors import MachineError, TrtzooError
from trtzoo.hardware import pycuda_build


def test_without_a_compiler_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MachineError, match=r"no C\+\+ compiler on PATH. Run: sudo apt-get install g\+\+ \(Debian, Ubuntu\)"):
        pycuda_build.check_compiler()


def test_without_pythons_headers_the_package_to_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(
        MachineError, match=rf"Python.h of Python {version} is missing. Run: sudo apt-get install python{version}-dev"
    ):
        pycuda_build.check_compiler()


def test_elsewhere_than_on_linux_pip_is_named(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(MachineError, match=r"(?s)on Linux only.*pip install pycuda$"):
        pycuda_build.check_compiler()


def test_without_a_driver_a_stub_with_its_name_is_linked(monkeypatch, tmp_path):
    monkeypatch.setattr(pycuda_build, "_driver_path", lambda: None)
    stub = pycuda_build.link_driver(tmp_path)
    assert stub.name == "libcuda.so"
    assert b"\0libcuda.so.1\0" in stub.read_bytes()  # its soname: nothing else in the file has this name


def test_a_build_that_fails_shows_the_end_of_its_output(monkeypatch, tmp_path):
    monkeypatch.setattr(pycuda_build, "PYCUDA", "no-such-package-of-trtzoo")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TrtzooError, match=r"-m pip.* failed with status 1: .*no-such-package-of-trtzoo"):
        pycuda_build.build_wheel(tmp_path, headers=tmp_path, libcuda=tmp_path / "libcuda.so")


def test_a_wheel_is_built_once_and_then_taken_from_the_cache(monkeypatch, tmp_path):
    built = []

    def build(folder):
        built.append(folder)
        wheel = folder / "pycuda-2026.1-cp311-cp311-linux_x86_64.whl"
        wheel.write_bytes(b"wheel")
        return wheel

    monkeypatch.setattr(pycuda_build, "build_wheel", build)
    wheels = {pycuda_build.cached_wheel(tmp_path) for _ in range(2)}
    assert len(built) == 1
    assert [wheel.read_bytes() for wheel in wheels] == [b"wheel"]
