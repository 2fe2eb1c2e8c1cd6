"""The cores and the memory that this process may use, on every operating system."""

import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

ROOT = Path("/")


class CpuLimit(msgspec.Struct, frozen=True, order=True):
    """A control group's limit, in cores, and the file that counts the CPU time of all its programs."""

    cores: float
    usage: Path


def available_cores(root: Path = ROOT) -> int:
    """CPU cores that this process may use: by its affinity and its control groups' limit, rounded up."""
    limit = cpu_limit(root)
    return min(allowed_cores(), math.ceil(limit.cores)) if limit else allowed_cores()


def allowed_cores() -> int:
    """CPU cores that this process may run on; all of the machine's where the system has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_limit(root: Path = ROOT) -> CpuLimit | None:
    """The tightest limit on CPU time among this process's control groups, as of Docker or Kubernetes; None without one."""
    return min(_cpu_limits(root), default=None)


def _cpu_limits(root: Path) -> Iterator[CpuLimit]:
    """The limits of this process's control group and of those above it, in version 1 or 2.

    A container may see paths that its mount does not have. Then only the mount's own folder is there: the container's group.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    paths = {
        name: PurePosixPath(path) for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")
    }
    mount, path = root / "sys/fs/cgroup", paths.get("cpu", paths.get("", PurePosixPath("/")))
    for group in (path, *path.parents):
        inside = group.relative_to("/")
        try:
            if "cpu" in paths:
                quota, period = (
                    (mount / "cpu" / inside / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
                )
                usage = mount / "cpuacct" / inside / "cpuacct.usage"
            else:
                quota, period = (mount / inside / "cpu.max").read_text().split()
                usage = mount / inside / "cpu.stat"
        except OSError:
            continue
        if quota not in ("max", "-1"):
            yield CpuLimit(int(quota) / int(period), usage)


def total_memory() -> int | None:
    """The machine's memory in bytes, or None where the system does not report it."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limit_memory(more: int) -> None:
    """Let this process allocate at most `more` bytes from now on, then allocations fail; Linux only."""
    if sys.platform == "linux":
        import resource

        used = re.search(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text())
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = more + (int(used[1]) << 10 if used else 0)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def limit_time(more: int) -> None:
    """Let this process use `more` seconds of a processor from now on, then SIGXCPU ends it; not on Windows."""
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        limit = math.ceil(time.process_time() + more)
        resource.setrlimit(resource.RLIMIT_CPU, (limit if hard < 0 else min(limit, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # SIGXCPU would dump it


def die_with_parent() -> None:
    """Let the system kill this process when its parent dies, whatever this process does then; Linux only.

    The parent is the thread that started it, so that thread must live as long.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def limit_blas() -> None:
    """Keep SciPy's OpenBLAS, if it is not loaded yet, from starting threads: where memory is limited it may wait for ever."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


INT8_INSTRUCTIONS = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI", "asimddp": "dot product"}
"""Flags of processors with instructions for sums of INT8 products, the fastest first."""
BF16_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "Arm's BF16"}


def int8_instructions(root: Path = ROOT) -> str:
    """The processor's instructions for INT8: those above that it has, "none", or "unknown" where the system does not say."""
    return _instructions(INT8_INSTRUCTIONS, root)


def bf16_instructions(root: Path = ROOT) -> str:
    """The processor's instructions for sums of BF16 products, as above."""
    return _instructions(BF16_INSTRUCTIONS, root)


def _instructions(known: dict[str, str], root: Path) -> str:
    try:
        flags = re.search(r"^(?:flags|Features)\s*:(.*)$", (root / "proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return "unknown"
    return ", ".join(name for flag, name in known.items() if flags and flag in flags[1].split()) or "none"
