"""Other programs' use of the cores that this process may use, from Linux's accounts of CPU time."""

import os
import time
from pathlib import Path

from trtzoo.core.system import ROOT, CpuLimit, allowed_cores, cpu_limit


class OtherLoad:
    """Measures how many of the cores that we may use other programs take during a `with` block; 0 on a system without /proc.

    Under a control group's limit, other programs take cores in two ways: inside the group, and outside it as far as the cores
    beyond the limit do not suffice for them. The larger one counts.
    """

    cores: float = 0.0

    def __init__(self, root: Path = ROOT) -> None:
        self._root, self._limit = root, cpu_limit(root)

    def __enter__(self) -> "OtherLoad":
        self._start = time.monotonic()
        self._machine, self._group = self._others()
        return self

    def __exit__(self, *_: object) -> None:
        elapsed, (machine, group) = time.monotonic() - self._start, self._others()
        if elapsed:
            spare = allowed_cores() - self._limit.cores if self._limit else 0.0
            self.cores = max(0.0, (machine - self._machine) / elapsed - spare, (group - self._group) / elapsed)

    def _others(self) -> tuple[float, float]:
        """Seconds of CPU time that others used: on the cores of our affinity, and in the control group that limits us."""
        own = sum(os.times()[:4])
        return _busy_seconds(self._root / "proc/stat") - own, _group_seconds(self._limit) - own


def _busy_seconds(stat: Path) -> float:
    """Seconds since boot that the cores of our affinity were busy, without idle and I/O wait; stolen time is busy."""
    if not stat.exists():
        return 0.0
    total, *cores = (line.split() for line in stat.read_text().splitlines() if line.startswith("cpu"))
    ours = [row for row in cores if int(row[0].removeprefix("cpu")) in os.sched_getaffinity(0)]
    ticks = 0
    for row in ours or [total]:
        user, nice, system, _idle, _iowait, *rest = map(int, row[1:9])
        ticks += user + nice + system + sum(rest)
    return ticks / os.sysconf("SC_CLK_TCK")


def _group_seconds(limit: CpuLimit | None) -> float:
    """Seconds of CPU time of all programs in the control group that limits us; 0 where they are not counted."""
    if limit is None or not limit.usage.exists():
        return 0.0
    words = limit.usage.read_text().split()
    return int(words[1]) / 1e6 if words[0] == "usage_usec" else int(words[0]) / 1e9
