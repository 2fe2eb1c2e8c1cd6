"""Disks that are full, read-only, slow, broken or gone: a sentence, nothing torn, and the next run on a good disk works.

Where the system allows it, one campaign fills a real small disk; elsewhere the process is told that the disk is full.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.hostile.works import BODY, WORKS, Work
from tests.models.raw_server import honest, serving

ORDER = ("download", "report", "build", "eval", "download", "figures", "build", "export", "download", "report", "eval", "bench")
"""The command of each trial, again and again."""
KILOBYTES = (8, 30, 100, 300, 1000, 10_000)


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    with serving(honest(BODY)) as server:
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        yield


def refuse(number: int) -> dict[str, Any]:
    return {"do": "refuse", "errno": number}


DISKS: dict[str, dict[str, Any]] = {
    "no room for another file": refuse(errno.ENOSPC),
    "over quota": refuse(errno.EDQUOT),
    "input/output errors": refuse(errno.EIO),
    "read-only": refuse(errno.EROFS) | {"at": 1},
    "no permission": refuse(errno.EACCES),
    "no room in a file": {"limits": "RLIMIT_FSIZE"},
    "folders that vanish": {"do": "vanish"},
    "slow": {"do": "slow", "seconds": 0.1},
}


def trouble(work: Work, disk: dict[str, Any], random: Random, folder: Path) -> dict[str, Any]:
    """The trouble of a trial: from a random change of a file on, in the command or in what it starts."""
    if "limits" in disk:
        return {"limits": {"RLIMIT_FSIZE": random.choice(KILOBYTES) << 10}}
    role = random.choice([role for role in work.changes if work.changes[role]])
    at = random.randint(1, len(work.changes[role]))
    vanishing = [str(folder / name) for name in random.sample(["onnx", "engines", "benchmarks", "cache"], 2)]
    return {"roles": [role], "at": at, "folder": str(folder), "vanishing": vanishing} | disk


@pytest.mark.parametrize("disk", DISKS)
def test_on_a_bad_disk_a_command_says_so_and_the_next_one_works(trials, tmp_path, disk):
    for trial in trials("disk", disk, few=1, full=len(ORDER), hang=300):
        with trial:
            work = WORKS[ORDER[trial.index % len(ORDER)]]
            folder = tmp_path / work.name
            work.rehearse(folder)
            work.ready(folder)
            ended = work.run(folder, trouble=trouble(work, DISKS[disk], trial.random, folder))
            assert ended.code in (0, 1, 3) and (ended.code == 0 or ended.err), str(ended)
            work.check_partly(folder)
            if ended.code == 0 and disk != "folders that vanish":
                assert work.found(folder) == work.usual, str(ended)
            work.prepare(folder)
            work.check_again(folder)


def test_half_a_download_is_no_file_on_a_disk_that_is_full_and_then_read_only(tmp_path):
    """The file cannot be written to its end, and then not be removed either, as when Linux remounts a disk with errors."""
    work, folder = WORKS["download"], tmp_path / "here"
    work.rehearse(folder)
    refused = {"do": "refuse", "errno": errno.EROFS, "roles": ["child"], "at": len(work.changes["child"]) + 1}
    ended = work.run(work.ready(folder), trouble=refused | {"folder": str(folder), "limits": {"RLIMIT_FSIZE": 8192}})
    assert ended.code == 1 and ended.out == "" and "w.pdparams could not be written: File too large" in ended.err, str(ended)
    assert work.found(folder) == {}
    work.check_again(folder)


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A disk of that size at the folder, where the system lets us mount one; else False."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_on_a_small_disk_a_command_says_so_and_makes_room(trials, tmp_path):
    for trial in trials("disk", "a small one", few=1, full=len(ORDER), hang=300):
        with trial:
            work = WORKS[ORDER[trial.index % len(ORDER)]]
            folder, disk = tmp_path / work.name / "here", tmp_path / f"{work.name}-disk"
            work.rehearse(folder)
            with small_disk(disk, trial.random.choice([200, 400, 700, 1000, 20_000])) as mounted:
                here = disk / "here"
                told = {} if mounted else {"limits": {"RLIMIT_FSIZE": trial.random.choice(KILOBYTES) << 10}}
                try:
                    work.ready(here)
                except OSError:
                    continue  # not even what it needs fits
                ended = work.run(here, trouble=told)
                assert ended.code in (0, 1, 3), str(ended)
                work.check_partly(here)
                assert ended.code or work.found(here) == work.usual, str(ended)
