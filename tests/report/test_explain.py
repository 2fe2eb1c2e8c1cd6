"""Explaining: words in any order select the same cell; several results are listed; an unknown word is an error."""

from itertools import permutations
from pathlib import Path

import pytest

from tests.report.results import gpu_result, result
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.records import Failure
from trtzoo.report.explain import explain, listing, select
from trtzoo.report.results import Found

FOUND = [
    Found(Path(name), made)
    for name, made in {
        "one": result(model="dpn131", precision="fp16", batch=4),
        "two": result(model="dpn131", precision="fp16", batch=8),
        "three": gpu_result(model="dpn131", precision="fp16", batch=4, cuda_graph=True, seconds=(0.0165,) * 12),
        "four": gpu_result(model="dpn131", precision="fp16", batch=4, cuda_graph=False),
    }.items()
]


def chosen(text):
    return [str(row.path) for row in select(FOUND, text)]


@pytest.mark.parametrize("words", list(permutations(("dpn131", "fp16", "b8"))))
def test_words_select_a_cell_in_any_order(words):
    assert chosen(",".join(words)) == ["two"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("DPN131, FP16 ,8", ["two"]),
        ("dpn131,fp16,b4", ["one", "three", "four"]),
        ("dpn131,fp16,b4,cpu", ["one"]),
        ("dpn131,fp16,b4,t4", ["three", "four"]),
        ("dpn131,fp16,b4,tensorrt,graph", ["three"]),
        ("tesla-t4,plain", ["four"]),
        ("b8", ["two"]),
    ],
)
def test_more_words_select_fewer_results(text, names):
    assert chosen(text) == names


def test_every_line_of_a_listing_selects_one_result():
    lines = listing(FOUND)
    assert lines[2] == "dpn131,fp16,b4,tesla-t4,tensorrt,trtzoo,graph"
    assert [chosen(line) for line in lines] == [["one"], ["two"], ["three"], ["four"]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--explain '' names no cell. Example: --explain dpn131,fp16,b4"),
        ("dpn131,dpn98,b4", "--explain 'dpn131,dpn98,b4' names 2 models, and a cell has one. Example"),
        ("dpn131,b4,b8", "--explain 'dpn131,b4,b8' names 2 batches, and a cell has one."),
        ("dpn13l,fp16,b4", "There is no part of a cell 'dpn13l'. Did you mean dpn131?"),
    ],
)
def test_words_that_select_no_cell_are_errors(text, sentence):
    with pytest.raises(UsageError) as error:
        select(FOUND, text)
    assert str(error.value).startswith(sentence)


def test_a_cell_that_was_never_measured_names_the_command():
    with pytest.raises(StoreError) as error:
        select(FOUND, "b4,fp32,dpn98")
    assert str(error.value) == (
        "Nothing was measured for b4, fp32, dpn98. To measure: trtzoo bench dpn98 --precision fp32 --batch 4"
    )


def test_a_number_in_a_gpu_s_name_is_not_a_batch():
    with pytest.raises(UsageError, match="There is no part of a cell '4090'"):
        select(FOUND, "dpn131,4090")


def test_every_known_fact_is_shown():
    facts = explain(FOUND[2])
    assert facts["File"] == "three"
    assert facts["Latency"] == "16.500 ms; 95 % interval of the median: 16.500 ms to 16.500 ms"
    assert facts["Published"] == "33.011 ms on Tesla T4"
    assert facts["Limit"] == "1.971 ms by compute, 11.9% reached (NVIDIA T4 data sheet)"
    assert facts["Doubts"] == "none"
    for fact, part in {"Device": "driver 550", "Versions": "1.2.3", "Protocol": "median", "Weights": "paddle"}.items():
        assert part in facts[fact]


def test_a_processor_is_not_compared_to_a_gpu():
    assert "Published" not in explain(FOUND[0])


def test_a_failure_is_explained_by_its_reason():
    failed = gpu_result(seconds=(), failure=Failure(kind="timeout", reason="no result after 600 s"))
    facts = explain(Found(Path("f"), failed))
    assert facts["Latency"] == "failed: timeout: no result after 600 s"
    assert facts["Published"] == "4.404 ms on Tesla T4"


def test_the_published_protocol_has_a_ratio_to_the_published_latency():
    made = gpu_result(model="dpn131", precision="fp16", batch=4, seconds=(0.0165,) * 12, protocol="paddle2020")
    assert explain(Found(Path("f"), made))["Published"] == "33.011 ms on Tesla T4; measured / published = 0.50"


def test_other_programs_load_is_of_the_cores_that_we_may_use():
    """An older file does not say how many those were."""
    loads = [explain(Found(Path("f"), gpu_result(other_load=0.25, **more))) for more in ({"available_cores": 64}, {})]
    assert [facts["Other programs"] for facts in loads] == ["0.25 of 64 cores", "0.25 cores"]
