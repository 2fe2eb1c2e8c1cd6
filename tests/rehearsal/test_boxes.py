"""`make table` on other machines with NVIDIA GPUs: each installs, builds and measures, or says what keeps it from that."""

import json

import pytest

from tests.rehearsal.box import CUDA12, VOLTA, Machine, unpack

pytestmark = pytest.mark.network
TABLE = ("make", "table", "MODELS=dpn68", "BATCH=1", "BENCH=--seconds 0.5")


@pytest.mark.parametrize(
    ("machine", "name", "release"),
    [
        (Machine("v100", packages=VOLTA), "Tesla V100-SXM2-16GB (emulated)", "10.4.0"),
        (Machine("a10g", driver="550.54.15", cuda=12040, packages=CUDA12), "NVIDIA A10G (emulated)", "11.4.0"),
    ],
    ids=["v100", "a10g"],
)
def test_another_gpu_gets_packages_that_fit_it_and_a_table(tmp_path, machine, name, release):
    box = unpack(tmp_path, machine, bare=False)
    box.run(*TABLE)
    results = [json.loads(path.read_text()) for path in (box.folder / "benchmarks").glob("*emulated/*.json")]
    assert sorted(row["case"]["precision"] for row in results) == ["fp16", "fp32"]
    assert {(row["device"]["name"], row["versions"]["tensorrt"]) for row in results} == {(name, release)}
    assert name in (box.folder / "benchmarks" / "TABLES.md").read_text()


def test_two_equal_gpus_are_told_apart(tmp_path):
    box = unpack(tmp_path, Machine("t4,t4"), bare=False)
    box.run(*TABLE)
    box.trtzoo("bench", "dpn68", "--batch", "1", "--seconds", "0.5", "--device", "1")
    files = list((box.folder / "benchmarks").glob("*emulated*/*-fp32-b1-*.json"))
    devices = {path.parent.name: json.loads(path.read_text())["device"] for path in files}
    assert set(devices) == {"tesla-t4-emulated", "tesla-t4-emulated-device1"}
    assert len({device["uuid"] for device in devices.values()}) == 2
    assert "Tesla T4 (emulated) (device 1)" in box.trtzoo("table", "--format", "md").stdout


def test_a_driver_that_is_too_old_is_refused_with_the_one_to_install(tmp_path):
    box = unpack(tmp_path, Machine("t4", driver="470.57.02", cuda=11040), bare=False)
    done = box.run(*TABLE, code=2)
    assert "Driver 470.57.02, CUDA 11.4 of Tesla T4 (emulated) is too old" in done.stderr
    assert "Install driver r580 or later" in done.stderr
