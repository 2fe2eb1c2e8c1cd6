"""Compiles PyCUDA without a CUDA toolkit.

PyCUDA has no wheels, and its own build needs nvcc on PATH. This one takes the headers from NVIDIA's wheels, links the driver of
this machine, or a stub with its name, and leaves out cuRAND, which trtzoo does not use. The headers are those of CUDA 12.0, so
the result runs on driver r525 and later.
"""

import ctypes
import os
import re
import shutil
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

from trtzoo.core.console import log
from trtzoo.core.errors import MachineError, TrtzooError
from trtzoo.core.files import replacing
from trtzoo.core.subprocesses import run_tool

PYCUDA = "pycuda==2026.1"
HEADERS = ("nvidia-cuda-runtime-cu12==12.0.146", "nvidia-cuda-profiler-api-cu12==12.0.140")
COMPILERS = ("g++", "c++", "clang++")


def cached_wheel(cache: Path) -> Path:
    """PyCUDA's wheel for this Python: from `cache`, or compiled into it. Raises StoreError, and as `build_wheel` does."""
    folder = wheel_folder(cache)
    with replacing(folder / PYCUDA) as work, tempfile.TemporaryDirectory() as build:  # holds a lock: others wait for this build
        if not any(folder.glob("*.whl")):
            shutil.copy(build_wheel(Path(build)), work)
    return next(folder.glob("*.whl"))


def wheel_folder(cache: Path) -> Path:
    """The folder in `cache` of the wheel for this version, Python and processor."""
    return cache / "pycuda" / f"{PYCUDA}-{sysconfig.get_config_var('SOABI')}"


def build_wheel(folder: Path, *, headers: Path | None = None, libcuda: Path | None = None, flags: str = "") -> Path:
    """Compile PyCUDA's wheel into `folder` and return it; two minutes on one core.

    `headers` holds cuda.h and cudaProfiler.h (default: downloaded), `libcuda` a libcuda.so to link, `flags` are added to the
    compiler's. Raises MachineError if a compiler or Python's headers are missing, TrtzooError if a download or the build fails.
    """
    check_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    headers = headers or download_headers(folder / "include")
    libcuda = libcuda or link_driver(folder / "lib")
    _pip("download", "--no-deps", "--no-binary=pycuda", "--dest", str(folder), PYCUDA)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    (source,) = (path for path in folder.glob("pycuda-*") if path.is_dir())
    paths = [f"--cuda-inc-dir={headers}", f"--cudadrv-lib-dir={libcuda.parent}", f"--cxxflags={flags}"]
    _run([sys.executable, "configure.py", "--no-cuda-enable-curand", *paths], cwd=source)
    linking = {"LDFLAGS": "-Wl,--no-as-needed"}  # Ubuntu's linker drops a library that resolves no symbol, as the stub does
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source), env=linking)
    shutil.rmtree(source)
    return next(folder.glob("pycuda-*.whl"))


def check_compiler() -> None:
    """Raise MachineError, with the package to install, if PyCUDA cannot be compiled here."""
    if sys.platform != "linux":
        raise MachineError(
            "PyCUDA is compiled from source, which trtzoo does on Linux only. "
            "Install the CUDA toolkit and a C++ compiler, then run: pip install pycuda"
        )
    if not any(map(shutil.which, COMPILERS)):
        raise MachineError(
            "PyCUDA is compiled from source, and there is no C++ compiler on PATH. "
            "Run: sudo apt-get install g++ (Debian, Ubuntu) or sudo dnf install gcc-c++ (Fedora, RHEL)"
        )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise MachineError(
            f"PyCUDA is compiled from source, and Python.h of Python {version} is missing. "
            f"Run: sudo apt-get install python{version}-dev (Debian, Ubuntu) or sudo dnf install python3-devel (Fedora, RHEL)"
        )


def download_headers(folder: Path, packages: tuple[str, ...] = HEADERS) -> Path:
    """Download the C headers of `packages`, which are NVIDIA's wheels, to `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    _pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), *packages)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if found := re.fullmatch(r"nvidia/\w+/include/(\w+\.h)", name):
                    (folder / found[1]).write_bytes(archive.read(name))
        wheel.unlink()
    return folder


def link_driver(folder: Path) -> Path:
    """Make `libcuda.so` in `folder`: a link to this machine's driver, or without one an empty library with its soname."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcuda.so"
    link.unlink(missing_ok=True)
    if driver := _driver_path():
        link.symlink_to(driver)
        return link
    compiler = next(filter(shutil.which, COMPILERS))
    _run([compiler, "-shared", "-x", "c++", "/dev/null", "-Wl,-soname,libcuda.so.1", "-o", str(link)], cwd=folder)
    return link


def _driver_path() -> str | None:
    """The file of libcuda.so.1 that the loader finds."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    maps = Path("/proc/self/maps").read_text()
    found = re.search(r"(/\S*libcuda\.so\S*)$", maps, re.MULTILINE)
    return found[1] if found else None


def _pip(*arguments: str, env: dict[str, str] | None = None) -> None:
    _run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments], cwd=Path(), env=env)


def _run(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> None:
    variables = os.environ | (env or {})
    done = run_tool(command, cwd=cwd, env=variables, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it printed nothing"]
        for line in lines[-15:-1]:
            log.error("    %s", line[:200])
        raise TrtzooError(f"{' '.join(command[:4])} … failed with status {done.returncode}: {lines[-1][:200]}")
