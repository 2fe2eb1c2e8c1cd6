"""Other programs' load: of the cores that we may use, by Linux's accounts of the machine and of a control group."""

import os
import subprocess
import sys
import time

import pytest

from trtzoo.hardware.other_load import OtherLoad

TICK = os.sysconf("SC_CLK_TCK")
SECONDS = 10.0


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Linux machine of 64 idle cores on which 10 s pass during each `with` block."""
    monkeypatch.setattr(time, "monotonic", iter([0.0, SECONDS]).__next__)
    monkeypatch.setattr(os, "times", lambda: (0.0,) * 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    stat(tmp_path, {})
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stat(machine, busy):
    """`busy` is the seconds of user time by core, since boot."""
    rows = [f"cpu{core} {round(busy.get(core, 0) * TICK)} 0 0 5000 70 0 0 0 0 0\n" for core in range(64)]
    write(machine / "proc/stat", f"cpu  {round(sum(busy.values()) * TICK)} 0 0 5000 70 0 0 0 0 0\n{''.join(rows)}intr 1 2 3\n")


def load(machine, busy, **group):
    with OtherLoad(machine) as others:
        stat(machine, busy)
        for name, text in group.items():
            write(machine / GROUPS[name], text)
    return others.cores


GROUPS = {"v2": "sys/fs/cgroup/cpu.stat", "v1": "sys/fs/cgroup/cpuacct/cpuacct.usage"}


def limit(machine, *, version, cores=4):
    if version == "v2":
        write(machine / "proc/self/cgroup", "0::/\n")
        write(machine / "sys/fs/cgroup/cpu.max", f"{cores * 100000} 100000\n")
        write(machine / GROUPS["v2"], "usage_usec 0\nuser_usec 0\n")
    else:
        write(machine / "proc/self/cgroup", "4:cpu,cpuacct:/pod\n")
        write(machine / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", f"{cores * 100000}\n")
        write(machine / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
        write(machine / GROUPS["v1"], "0\n")


def test_busy_cores_are_counted(machine):
    assert load(machine, {0: 9.0, 33: 3.0}) == pytest.approx(1.2)


def test_our_own_time_is_not_counted(machine, monkeypatch):
    monkeypatch.setattr(os, "times", iter([(0.0,) * 5, (7.0, 1.0, 0.5, 0.5, 99.0)]).__next__)
    assert load(machine, {0: 9.0, 33: 3.0}) == pytest.approx(0.3)


def test_cores_that_we_may_not_run_on_are_not_counted(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 33})
    assert load(machine, dict.fromkeys(range(2, 30), SECONDS) | {33: 3.0}) == pytest.approx(0.3)


def test_under_a_limit_the_machine_s_other_cores_are_free_for_others(machine):
    limit(machine, version="v2", cores=4)
    assert load(machine, dict.fromkeys(range(40), SECONDS)) == 0


def test_under_a_limit_a_full_machine_leaves_too_few_cores(machine):
    limit(machine, version="v2", cores=4)
    assert load(machine, dict.fromkeys(range(62), SECONDS)) == pytest.approx(2)


@pytest.mark.parametrize(("version", "used"), [("v2", "usage_usec 5000000\nuser_usec 1\n"), ("v1", "5000000000\n")])
def test_others_inside_the_control_group_are_counted(machine, version, used):
    limit(machine, version=version)
    assert load(machine, {}, **{version: used}) == pytest.approx(0.5)


def test_without_linux_s_accounts_there_is_no_load(machine):
    (machine / "proc/stat").unlink()
    with OtherLoad(machine) as others:
        pass
    assert others.cores == 0


def test_a_busy_program_on_this_machine_is_seen():
    with OtherLoad() as others, subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        time.sleep(0.5)
        busy.kill()
    assert others.cores > 0.15
