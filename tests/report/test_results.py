"""Result files: good files are read; every other file is skipped and named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.results import result
from trtzoo.core.errors import StoreError
from trtzoo.core.files import encode
from trtzoo.core.records import Failure
from trtzoo.report.results import load_files, load_results, parse_result

FAILURE = Failure(kind="timeout", reason="no result after 600 s")


def write(folder, name, found):
    path = folder / "a-cpu-2c" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(found if isinstance(found, bytes) else encode(found))
    return path


def changed(**fields):
    """A result's bytes with some of its fields, or its case's, replaced."""
    plain = json.loads(encode(result()))
    for name, value in fields.items():
        (plain["case"] if name in plain["case"] else plain)[name] = value
    return json.dumps(plain).encode()


def test_written_results_are_read(tmp_path):
    for batch in (1, 4):
        write(tmp_path, f"b{batch}", result(batch=batch))
    write(tmp_path, "failed", result(batch=8, seconds=(), failure=FAILURE))
    results, complaints = load_results(tmp_path)
    assert results == [result(batch=1), result(batch=4), result(batch=8, seconds=(), failure=FAILURE)]
    assert complaints == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (encode(result())[:100], "is damaged: Input data was truncated."),
        (b"\xff\xfe", "is damaged: "),
        (b"[" * 100_000, "is damaged: it is nested too deeply."),
        (b"[]", "is not a result file."),
        (b'{"schema": 1, "kind": "onnx"}', "is not a result file."),
        (changed(schema=99), "has schema version 99; this trtzoo reads version 1."),
        (changed(schema="two", samples="?"), 'has schema version "two"; this trtzoo reads version 1.'),
        (changed(samples="?"), "is damaged: Expected `array`, got `str`"),
        (changed(samples=[]), "is damaged: it has neither a failure nor samples."),
        (changed(samples=[[0, 0]]), "is damaged: total is 0.0, compute is 0.0: that cannot be - at `$.samples[0]`."),
        (changed(samples=[[1e7, 1e7]]), "is damaged: total is 10000000.0, compute is 10000000.0: that cannot be"),
        (changed(samples=[[1e308, 1e308]]), "is damaged: Expected `float` <= 1e+18"),
        (changed(samples=[[1, -1]]), "is damaged: compute is -1.0: that cannot be - at `$.samples[0]`."),
        (changed(batch=0), "is damaged: batch is 0: that cannot be - at `$.case`."),
        (changed(io="fp30"), "is damaged: io is 'fp30': that cannot be."),
        (changed(model="../../etc"), "is damaged: model is '../../etc': that cannot be - at `$.case`."),
        (changed(versions={"a": "DEEP"}).replace(b'"DEEP"', b"[" * 100_000), "is damaged: it is nested too deeply."),
        (changed(threads="DIGITS").replace(b'"DIGITS"', b"9" * 5000), "is damaged: "),
        (changed(protocol="trtexec11", samples=[[1, 0]]), "is damaged: compute is 0.0: that cannot be - at `$.samples[0]`."),
        (changed(device="other"), "is damaged: its case is of the device 'other', and its device is 'a-cpu-2c'."),
        (changed(started="yesterday"), "is damaged: started is 'yesterday': that cannot be."),
        (changed(sgemm=1e-300), "is damaged: sgemm is 1e-300: that cannot be."),
        (changed(protocol="mlperf-ss"), "is damaged: 12 queries; at least 64 are needed."),
        (changed(precision="fp4"), "has the precision 'fp4', which this trtzoo does not know."),
        (changed(protocol="guess"), "has the protocol 'guess', which this trtzoo does not know."),
    ],
)
def test_any_other_file_is_named_and_skipped(tmp_path, data, sentence):
    write(tmp_path, "good", result(batch=4))
    path = write(tmp_path, "bad", data)
    results, (complaint,) = load_results(tmp_path)
    assert results == [result(batch=4)]
    assert complaint.startswith(f"{path} {sentence}")


def test_a_folder_in_a_file_s_place_is_named_too(tmp_path):
    (tmp_path / "device" / "odd.json").mkdir(parents=True)
    assert load_results(tmp_path) == ([], [f"{tmp_path}/device/odd.json cannot be read: Is a directory."])


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_files_of_one_case_the_newer_counts_and_the_other_is_named(tmp_path, names):
    old = write(tmp_path, names[0], result(started="2026-11-01T10:00:00+00:00", seconds=(0.5,)))
    new = write(tmp_path, names[1], result(started="2026-11-02T10:00:00+00:00"))
    found, complaints = load_files(tmp_path)
    assert [row.path for row in found] == [new]
    assert complaints == [f"{old} is of the same case as {new}, which is newer."]


def test_of_equal_copies_the_one_under_its_own_name_counts(tmp_path):
    copy, own = (write(tmp_path, name, result()) for name in ("z-copy", result().case.name))
    assert [row.path for row in load_files(tmp_path)[0]] == [own]
    assert str(copy) in load_results(tmp_path)[1][0]


def test_cases_of_two_devices_are_two_results(tmp_path):
    other = result(device=result().device.__class__(key="b-cpu", name="B", kind="cpu"))
    write(tmp_path, "a", result())
    write(tmp_path, "b", other)
    assert load_results(tmp_path) == ([result(), other], [])


def test_an_empty_or_missing_folder_has_no_results(tmp_path):
    assert load_results(tmp_path) == load_results(tmp_path / "nowhere") == ([], [])


@given(st.binary(max_size=300) | st.builds(lambda cut: encode(result())[:cut], st.integers(0, 900)))
def test_any_bytes_are_read_or_refused(data):
    try:
        assert parse_result(lambda: data, source="any.json") == result()
    except StoreError as error:
        assert str(error).startswith("any.json ")
