"""Cores and memory, on systems with and without affinity."""

import os

from trtzoo.core.system import available_cores, total_memory


def test_cores_are_those_this_process_may_use():
    assert available_cores() == len(os.sched_getaffinity(0))


def test_without_affinity_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == os.cpu_count()


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
