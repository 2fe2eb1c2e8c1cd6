"""Which packages go together, by GPU and driver."""

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.core.errors import MachineError
from trtzoo.hardware.gpus import GPUS
from trtzoo.hardware.software import STACKS, check_python, driver_problem, driver_release, find_stack

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def distribution(requirement):
    """The requirement without its version's minimum, which pyproject.toml may set and a stack leaves to pip."""
    return re.split(r"[<>=;]", requirement)[0].strip()


@pytest.mark.parametrize(
    ("title", "sm", "driver", "extra"),
    [
        ("Tesla T4", 75, "580.65.06, CUDA 13.0", "gpu"),
        ("Tesla T4", 75, "550.54.15, CUDA 12.4", "gpu-cuda12"),
        ("Tesla T4", 75, "535.183.01, CUDA 12.2", "gpu-cuda12"),
        ("Tesla T4", 75, "525.147.05, CUDA 12.0", "gpu-r525"),
        ("Tesla V100-SXM2-16GB", 70, "580.65.06, CUDA 13.0", "gpu-volta"),
        ("Tesla V100-SXM2-16GB", 70, "535.183.01, CUDA 12.2", "gpu-volta"),
        ("NVIDIA GeForce RTX 5090", 120, "580.65.06, CUDA 13.0", "gpu"),
    ],
)
def test_the_packages_follow_from_the_gpu_and_the_driver(title, sm, driver, extra):
    assert find_stack(title, sm, driver).extra == extra


def test_an_old_driver_is_refused_with_the_one_to_install():
    with pytest.raises(MachineError) as caught:
        find_stack("Tesla T4", 75, "470.57.02, CUDA 11.4")
    assert str(caught.value) == (
        "Driver 470.57.02, CUDA 11.4 of Tesla T4 is too old: TensorRT's packages need CUDA 12, which runs on driver r525 and "
        "later. "
        "Install driver r580 or later, or use the CPU: trtzoo setup --target cpu"
    )


def test_a_gpu_before_volta_is_refused():
    with pytest.raises(MachineError, match=r"^Tesla P4 \(SM61\) is older than Volta \(SM70\)"):
        find_stack("Tesla P4", 61, "580.65.06, CUDA 13.0")


@given(sm=st.sampled_from(sorted({row.sm for row in GPUS.values()})), release=st.integers(0, 999))
def test_every_gpu_has_one_row_for_each_driver_from_r525_on(sm, release):
    fitting = [row for row in STACKS if row.sm[0] <= sm <= row.sm[1] and row.oldest_driver <= release < row.newest_driver]
    assert len(fitting) == (release >= 525)


@pytest.mark.parametrize("row", STACKS, ids=lambda row: row.extra)
def test_the_extra_of_each_row_has_its_packages(row):
    extra = PROJECT["optional-dependencies"][row.extra]
    for requirement in (row.tensorrt, row.torch, row.onnxruntime):
        assert requirement in extra
    assert {distribution(each) for each in extra} >= {"pycuda", "nvidia-ml-py"}


def test_python_ends_where_the_newest_wheels_end():
    newest = max(tuple(map(int, row.newest_python.split("."))) for row in STACKS)
    assert PROJECT["requires-python"] == f">=3.10,<{newest[0]}.{newest[1] + 1}"


def test_no_extra_has_both_onnx_runtimes():
    for extra in PROJECT["optional-dependencies"].values():
        names = {distribution(each).partition("[")[0] for each in extra}
        assert not {"onnxruntime", "onnxruntime-gpu"} <= names


def test_a_python_without_wheels_is_refused_with_the_one_to_use():
    volta = next(row for row in STACKS if row.extra == "gpu-volta")
    check_python(volta, (3, 12))
    with pytest.raises(
        MachineError, match=r"has no wheels for Python 3.13; the last is Python 3.12. Run: python3.12 -m venv .venv"
    ):
        check_python(volta, (3, 13))


@pytest.mark.parametrize(
    ("driver", "release"),
    [("550.54.15, CUDA 12.4", 550), ("CUDA 12.4", 550), ("CUDA 12.7", 560), ("CUDA 13.2", 580), ("CUDA 10.2", 0), ("", 0)],
)
def test_a_driver_is_known_by_its_cuda_where_nvml_is_missing(driver, release):
    assert driver_release(driver) == release


def test_a_library_is_judged_by_the_driver():
    assert driver_problem("CUDA 13", "580.65.06, CUDA 13.0") == ""
    assert driver_problem("CUDA 13", "550.54.15, CUDA 12.4") == (
        "CUDA 13 needs driver r580 or later, and driver 550.54.15, CUDA 12.4 is here"
    )
    assert driver_problem("TensorRT 10", "525.147.05, CUDA 12.0") == ""
