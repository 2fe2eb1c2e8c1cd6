"""Installs the emulated CUDA driver and NVML, and the real PyCUDA, cuda-bindings and nvidia-ml-py, in a folder of their own.

`python -m tests.cuda.install` prints the folders. They stay out of the environment that runs the tests: PyCUDA must not be
importable by accident on a machine without a GPU. PyCUDA is compiled once per machine (about two minutes) and kept in the
user's cache, or in TRTZOO_TEST_CACHE; the driver is compiled again when its sources change.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from trtzoo.hardware import pycuda_build

CUDA = "12.9.79"
HEADERS = (f"nvidia-cuda-runtime-cu12=={CUDA}", f"nvidia-cuda-profiler-api-cu12=={CUDA}")
BINDINGS = ("cuda-bindings==12.9.10", "nvidia-ml-py==13.615.71")
REST = ("cuda-pathfinder", "mako", "markupsafe", "platformdirs", "pytools", "siphash24", "typing-extensions")
SOURCES = sorted(Path(__file__).with_name("driver").iterdir())
NVML = Path(__file__).with_name("nvml") / "nvml.cpp"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
"""Of this process before any test disables the network, without tests/conftest.py's hiding of real GPUs."""


class Installed(NamedTuple):
    """`driver`: a folder with libcuda.so.1 and libnvidia-ml.so.1. `site`: a folder with the packages, for PYTHONPATH."""

    driver: Path
    site: Path


def install() -> Installed:
    """Install what is missing for the tests on the emulated driver."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        return Installed(driver(folder), site(folder))


def cache() -> Path:
    """A folder for this Python and these versions."""
    base = (
        os.environ.get("TRTZOO_TEST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtzoo-tests"
    )
    versions = (HEADERS, pycuda_build.PYCUDA, pycuda_build.HEADERS, BINDINGS, REST, sysconfig.get_config_var("SOABI"))
    key = hashlib.sha256(repr(versions).encode()).hexdigest()[:12]
    return Path(base) / f"cuda-{key}"


def headers(folder: Path) -> Path:
    """CUDA's header files, from their wheels."""

    return once(folder / "headers", lambda work: pycuda_build.download_headers(work, HEADERS))


def driver(folder: Path) -> Path:
    """Our libcuda.so.1 and libnvidia-ml.so.1. Other functions of cuda.h return "not supported"."""
    include = headers(folder)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (*SOURCES, NVML, Path(__file__)))).hexdigest()[:12]

    def make(work: Path) -> None:
        generated = work / "generated.cpp"
        declared = "".join((include / name).read_text() for name in ("cuda.h", "cudaProfiler.h"))
        typedefs = "".join((include / name).read_text() for name in ("cudaTypedefs.h", "cudaProfilerTypedefs.h"))
        generated.write_text(entries(declared, typedefs))
        sources = [path for path in SOURCES if path.suffix == ".cpp"]
        options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-fPIC", "-shared"]
        soname = ["-Wl,-soname,libcuda.so.1", "-o", work / "libcuda.so.1"]
        run("g++", *options, "-I", include, "-I", SOURCES[0].parent, generated, *sources, *soname, "-pthread")
        run("g++", *options, NVML, "-o", work / "libnvidia-ml.so.1")
        (work / "libcuda.so").symlink_to("libcuda.so.1")

    return once(folder / f"driver-{digest}", make)


def entries(declared: str, typedefs: str) -> str:
    """A weak stub for every prototype of cuda.h, and the table for cuGetProcAddress.

    The n-th variant of a name (cuMemAlloc, cuMemAlloc_v2) belongs to the n-th version in cudaTypedefs.h; a name without a type
    there is as new as the header. Only cuGraphInstantiate changed its meaning: it is …WithFlags from 12.0 on.
    """
    names = {name for name in re.findall(r"\b(cu[A-Z]\w*)", declared) if re.search(rf"CUDAAPI\s+{name}\s*\(", declared)}
    names |= set(re.findall(r"#define\s+cu\w+\s+(?:__CUDA_API_PT(?:DS|SZ)\()?(cu\w+)\)?\s", declared))
    variants, versions = defaultdict(set), defaultdict(set)
    for name in names:
        if not name.endswith(("_ptds", "_ptsz")):
            variants[re.sub(r"_v\d+$", "", name)].add(name)
    for name, version in re.findall(r"\*PFN_(cu\w+?)_v(\d+)\)", typedefs):
        versions[name].add(int(version))
    table = [("cuGraphInstantiate", 12000, "cuGraphInstantiateWithFlags")]
    for base, found in sorted(variants.items()):
        ordered = sorted(found, key=lambda name: int((re.findall(r"_v(\d+)$", name) or ["1"])[0]))
        table += zip([base] * len(ordered), sorted(versions[base]) or [12090], ordered, strict=True)
    lines = [f'extern "C" __attribute__((weak)) int {name}() {{ return 801; }}' for _, _, name in table if name in names]
    rows = [f'    {{"{base}", {version}, reinterpret_cast<void *>({name})}},' for base, version, name in table]
    head = "struct Entry { const char *name; int version; void *function; };"
    lines = list(dict.fromkeys(lines))
    return "\n".join([*lines, head, 'extern "C" const Entry ENTRIES[];', "const Entry ENTRIES[] = {", *rows, "    {}};"]) + "\n"


def site(folder: Path) -> Path:
    """PyCUDA, compiled from its source against the driver; cuda-bindings and nvidia-ml-py."""

    def make(work: Path) -> None:
        wheel = pycuda(folder)
        pip("install", "--no-deps", "--target", work, wheel, *BINDINGS, *REST)

    return once(folder / "site", make)


def pycuda(folder: Path) -> Path:
    """PyCUDA's wheel by the product's own recipe, compiled without optimisation in half the time."""

    def make(work: Path) -> None:
        pycuda_build.build_wheel(work, flags="-O0,-g0")

    return next(once(folder / "pycuda", make).glob("*.whl"))


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Create the folder with `make` unless it exists; it is complete or absent."""
    if not folder.exists():
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            make(work)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def pip(*arguments: object) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)


def run(*command: object, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


if __name__ == "__main__":
    print(*install(), sep="\n")
