"""trtexec's files and trtexec's command line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmark.trtexec_files import query, write
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.benchmark.trtexec import command_line, read_profile, read_times
from trtzoo.core.errors import StoreError
from trtzoo.core.records import Case


@pytest.mark.parametrize("names", [("h2dMs", "d2hMs"), ("inMs", "outMs")], ids=" ".join)
def test_queries_are_seconds_and_their_latency_is_copies_and_compute(tmp_path, names):
    (sample,) = read_times(write(tmp_path / "times.json", [query(names=names)]))
    assert sample.total == pytest.approx(0.00412)
    assert (sample.compute, sample.h2d, sample.d2h) == pytest.approx((0.004, 0.0001, 0.00002))
    assert sample.enqueue == pytest.approx(0.0005)


def test_queries_of_the_warm_up_are_excluded_from_the_samples(tmp_path):
    rows = [query(start=start) for start in (0.5, 100, 199.9, 200.0, 300)]
    assert len(read_times(write(tmp_path / "times.json", rows))) == 2


@given(st.lists(st.tuples(st.floats(200, 1e5), st.floats(0, 10), st.floats(1e-3, 100), st.floats(0, 10)), min_size=1))
def test_every_query_after_the_warm_up_is_kept_in_order(tmp_path_factory, rows):
    path = write(tmp_path_factory.mktemp("t") / "times.json", [query(*row) for row in rows])
    assert [sample.compute for sample in read_times(path)] == pytest.approx([row[2] / 1000 for row in rows])


def test_layers_are_in_seconds_per_query(tmp_path):
    rows = [{"count": 625}, {"name": "conv0", "timeMs": 36.7, "averageMs": 0.05, "percentage": 1.2}]
    (layer,) = read_profile(write(tmp_path / "profile.json", rows))
    assert (layer.name, layer.seconds) == ("conv0", pytest.approx(0.00005))


@pytest.mark.parametrize("read", [read_times, read_profile])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b'{"a": 1}', "Expected `array`, got `object`"),
        (b'[{"startComputeMs": 300}', "truncated"),
        (b'[{"other": 1}]', "KeyError"),
        (b'[{"startComputeMs": "soon", "name": "x", "averageMs": "long"}]', "TypeError"),
    ],
)
def test_a_file_that_is_not_from_trtexec_is_refused(tmp_path, read, content, reason):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"x.json is not a file of trtexec --export\w+ \(.*{reason}.*\)\."):
        read(path)


@given(st.binary(max_size=200))
def test_any_other_file_is_an_error_that_names_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "x.json"
    path.write_bytes(content)
    for read in (read_times, read_profile):
        try:
            read(path)
        except StoreError as error:
            assert str(path) in str(error)


def test_a_missing_file_and_a_run_shorter_than_its_warm_up_are_errors(tmp_path):
    with pytest.raises(StoreError, match=r"none\.json does not exist"):
        read_times(tmp_path / "none.json")
    with pytest.raises(StoreError, match=r"has 1 queries, none of them after trtexec's warm-up of 0\.2 s"):
        read_times(write(tmp_path / "times.json", [query(start=1)]))


@pytest.mark.parametrize(
    ("protocol", "release", "precision", "options"),
    [
        ("trtexec10", 10, "fp16", ["--stronglyTyped", "--noTF32", "--warmUp=200", "--duration=3", "--iterations=10"]),
        ("trtexec11", 10, "tf32", ["--stronglyTyped", "--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--warmUp=200"]),
        ("trtexec11", 11, "fp32", ["--noTF32", "--warmUp=200", "--duration=3"]),
        ("trtzoo", 10, "fp32", ["--stronglyTyped", "--useCudaGraph", "--noTF32", "--warmUp=500"]),
    ],
)
def test_a_case_becomes_the_command_that_measures_the_same(protocol, release, precision, options):
    case = Case(model="dpn68", precision=precision, batch=4, runtime="trtexec", device="", protocol=protocol)
    line = command_line(case, PROTOCOLS[protocol], release=release, onnx=Path("onnx/dpn68.onnx"), io=(3, 224, 224))
    assert line[:2] == ["trtexec", "--onnx=onnx/dpn68.onnx"]
    assert line[2:6] == [f"--{which}hapes=images:4x3x224x224" for which in ("minS", "optS", "maxS", "s")]
    assert line[6 : 6 + len(options)] == options
    assert ("--noTF32" in line) == (precision != "tf32")


@pytest.mark.parametrize(("protocol", "release"), [("paddle2020", 10), ("mlperf-ss", 11), ("trtexec10", 11), ("trtzoo", 11)])
def test_a_protocol_that_a_release_cannot_measure_has_no_command(protocol, release):
    case = Case(model="dpn68", precision="fp32", batch=4, runtime="trtexec", device="", protocol=protocol)
    assert command_line(case, PROTOCOLS[protocol], release=release, onnx=Path("x.onnx"), io=(3, 224, 224)) == []
