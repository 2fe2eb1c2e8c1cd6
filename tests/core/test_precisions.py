"""The table of precisions."""

from __future__ import annotations

import pytest

from trtzoo.core.errors import UsageError
from trtzoo.core.precisions import GRAPHS, PRECISIONS, check_gpu, find_precision, precision_of


def test_the_rows_have_the_graph_s_type_and_tf32() -> None:
    found = {row.name: (row.graph, row.tf32, row.tolerance) for row in PRECISIONS.values()}
    assert found == {
        "fp32": ("fp32", False, 2e-5),
        "tf32": ("fp32", True, 2e-2),
        "fp16": ("fp16", False, 2e-2),
        "bf16": ("bf16", False, 0.16),
        "int8": ("int8", False, 0.75),
        "fp8": ("fp8", False, 0.75),
    }


def test_every_file_is_of_a_kind_and_says_its_precision() -> None:
    for row in PRECISIONS.values():
        assert {*row.graphs} <= GRAPHS.keys() and all(
            GRAPHS[row.graph].quantized == GRAPHS[kind].quantized for kind in row.graphs
        )
        assert row.quantized == (row.least_cosine is not None)
    kinds = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "int8": "int8", "int8-fp16": "int8", "fp8": "fp8"}
    assert {kind: precision_of(kind) for kind in GRAPHS} == kinds


@pytest.mark.parametrize("name", ["fp16", "FP16", "Fp16"])
def test_a_precision_is_found_in_any_case(name: str) -> None:
    assert find_precision(name) is PRECISIONS["fp16"]


@pytest.mark.parametrize(
    ("name", "guess"),
    [("fp61", " Did you mean fp16?"), ("fp9", " Did you mean fp8?"), ("int7", " Did you mean int8?"), ("", "")],
)
def test_an_unknown_precision_suggests_the_nearest(name: str, guess: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_precision(name)
    assert str(caught.value) == f"There is no precision {name!r}.{guess} Known: fp32, tf32, fp16, bf16, int8, fp8."


@pytest.mark.parametrize(("name", "first", "instead"), [("tf32", 80, "fp32"), ("bf16", 80, "fp16"), ("fp8", 89, "int8")])
def test_a_gpu_has_a_precision_from_its_first_compute_capability_on(name: str, first: int, instead: str) -> None:
    check_gpu([name], "A GPU", first)
    sentence = rf"^A GPU \(SM{first - 1}\) has no {name.upper()}; it came with SM{first}. Say --precision {instead}$"
    with pytest.raises(UsageError, match=sentence):
        check_gpu(["fp32", name], "A GPU", first - 1)
    check_gpu([instead], "A GPU", first - 1)


def test_a_gpu_without_tf32_has_no_tf32_row() -> None:
    check_gpu(["fp32", "fp16"], "Tesla T4", 75)
    with pytest.raises(UsageError, match=r"^Tesla T4 \(SM75\) has no TF32; it came with SM80. Say --precision fp32$"):
        check_gpu(["fp16", "tf32"], "Tesla T4", 75)
