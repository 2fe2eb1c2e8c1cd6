"""Cores and memory, on systems with and without affinity, and in control groups with a limit."""

import os

import pytest

from trtzoo.core.system import allowed_cores, available_cores, cpu_limit, total_memory


def test_cores_are_those_this_process_may_run_on():
    assert allowed_cores() == len(os.sched_getaffinity(0))
    assert 1 <= available_cores() <= allowed_cores()


def test_without_affinity_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert allowed_cores() == os.cpu_count()


POD = "/kubepods/pod1/abc"
V1 = f"4:cpu,cpuacct:{POD}\n2:memory:{POD}\n0::/\n"


def version_1(folder, quota):
    return {f"cpu{folder}/cpu.cfs_quota_us": f"{quota}\n", f"cpu{folder}/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),  # in a container, version 2
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        (f"0::{POD}\n", {f"{POD[1:]}/cpu.max": "max 100000\n", "kubepods/pod1/cpu.max": "150000 100000\n"}, 1.5),
        (f"0::{POD}\n", {f"{POD[1:]}/cpu.max": "800000 100000\n", "kubepods/cpu.max": "200000 100000\n"}, 2),
        (V1, version_1(POD, 50000), 0.5),
        (V1, version_1("", 400000), 4),  # in a container, version 1: the mount is the container's own group
        (V1, version_1(POD, -1), None),
        ("3:cpuset:/\n0::/\n", {}, None),
        (None, {"cpu.max": "400000 100000\n"}, None),
    ],
)
def test_the_tightest_limit_of_a_control_group_counts(tmp_path, groups, files, cores):
    contents = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    contents |= {"proc/self/cgroup": groups} if groups else {}
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    limit = cpu_limit(tmp_path)
    assert (limit and limit.cores) == cores
    assert available_cores(tmp_path) == min(allowed_cores(), {None: 99, 0.5: 1, 1.5: 2}.get(cores, cores))


def test_memory_is_none_where_the_system_does_not_report_it(monkeypatch):
    assert total_memory() > 1 << 28
    monkeypatch.delattr(os, "sysconf")
    assert total_memory() is None


def test_export_needs_no_affinity(trtzoo, tmp_path):
    """As on macOS and Windows."""
    (tmp_path / "sitecustomize.py").write_text("import os\ndel os.sched_getaffinity\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = trtzoo("export", "dpn68", "--weights", "seeded", "--classes", "2", "--input-size", "32", env={"PYTHONPATH": path})
    assert (done.returncode, done.stderr) == (0, "")
