"""The cores and the memory that this process may use, on every operating system."""

import os


def available_cores() -> int:
    """CPU cores that this process may run on; all of the machine's where the system has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int | None:
    """The machine's memory in bytes, or None where the system does not report it."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
