"""trtexec's files and trtexec's command line."""

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmark.trtexec_files import query, write
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.benchmark.trtexec import can_measure, command_line, read_profile, read_times
from trtzoo.core.errors import StoreError
from trtzoo.core.records import Case


@pytest.mark.parametrize("names", [("h2dMs", "d2hMs"), ("inMs", "outMs")], ids=" ".join)
def test_queries_are_seconds_and_their_latency_is_copies_and_compute(tmp_path, names):
    (sample,) = read_times(write(tmp_path / "times.json", [query(names=names)]), release=(10, 13))
    assert sample.total == pytest.approx(0.00412)
    assert (sample.compute, sample.h2d, sample.d2h) == pytest.approx((0.004, 0.0001, 0.00002))
    assert sample.enqueue == pytest.approx(0.0005)


@pytest.mark.parametrize(("release", "kept"), [((8, 4), 2), ((8, 5), 5), ((11, 1), 5)])
def test_only_files_of_old_releases_include_the_warm_up_and_lose_it(tmp_path, release, kept):
    """trtexec leaves the warm-up out of its exports since 8.5.1, whatever --warmUp was."""
    rows = [query(start=start) for start in (0.5, 100, 199.9, 200.0, 300)]
    assert len(read_times(write(tmp_path / "times.json", rows), release=release)) == kept


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 10), st.floats(1e-3, 100), st.floats(0, 10)), min_size=1))
def test_every_query_is_kept_in_order(tmp_path_factory, rows):
    path = write(tmp_path_factory.mktemp("t") / "times.json", [query(*row) for row in rows])
    assert [sample.compute for sample in read_times(path, release=(10, 0))] == pytest.approx([row[2] / 1000 for row in rows])


def test_layers_are_in_seconds_per_query(tmp_path):
    rows = [{"count": 625}, {"name": "conv0", "timeMs": 36.7, "averageMs": 0.05, "percentage": 1.2}]
    (layer,) = read_profile(write(tmp_path / "profile.json", rows))
    assert (layer.name, layer.seconds) == ("conv0", pytest.approx(0.00005))


@pytest.mark.parametrize("read", [partial(read_times, release=(10, 13)), read_profile])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b'{"a": 1}', "Expected `array`, got `object`"),
        (b'[{"startComputeMs": 300}', "truncated"),
        (b'[{"other": 1}]', "missing required field"),
        (b'[{"startComputeMs": "soon", "name": "x", "averageMs": "long"}]', "Expected `float`, got `str`"),
        (b'[{"startComputeMs": 300, "computeMs": -4, "h2dMs": 0, "d2hMs": 0, "name": "x", "averageMs": -1}]', "that cannot be"),
        (b'[{"startComputeMs": 300, "computeMs": 1e9, "h2dMs": 0, "d2hMs": 0, "name": "x", "averageMs": 1e9}]', "cannot be"),
        (b'[{"startComputeMs": 9%s, "name": "x", "averageMs": 9%s}]' % (b"9" * 5000, b"9" * 5000), "out of range"),
        (b'[{"startComputeMs": NaN, "name": "x", "averageMs": NaN}]', "malformed"),
        (b'[{"name": "%s", "averageMs": 1, "computeMs": 1}]' % (b"x" * 70_000), "of length <= 65536"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_not_from_trtexec_is_refused(tmp_path, read, content, reason):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"x.json is not a file of trtexec --export\w+: .*{reason}.*\."):
        read(path)


@pytest.mark.parametrize(
    "change", [{"h2dMs": None}, {"computeMs": 0}, {"startComputeMs": -1}, {"endEnqMs": 0, "startEnqMs": 1}]
)
def test_a_query_that_cannot_be_is_refused(tmp_path, change):
    row = {name: value for name, value in (query() | change).items() if value is not None}
    with pytest.raises(StoreError, match=r"x\.json is not a file of trtexec --exportTimes: "):
        read_times(write(tmp_path / "x.json", [query(), row]), release=(10, 13))


@given(st.binary(max_size=200))
def test_any_other_file_is_an_error_that_names_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "x.json"
    path.write_bytes(content)
    for read in (partial(read_times, release=(10, 13)), read_profile):
        try:
            read(path)
        except StoreError as error:
            assert str(path) in str(error)


def test_a_missing_file_and_a_run_shorter_than_its_warm_up_are_errors(tmp_path):
    with pytest.raises(StoreError, match=r"none\.json does not exist"):
        read_times(tmp_path / "none.json", release=(10, 13))
    with pytest.raises(StoreError, match=r"has 1 queries, none of them after trtexec's warm-up"):
        read_times(write(tmp_path / "times.json", [query(start=1)]), release=(8, 2))


@pytest.mark.parametrize(
    ("protocol", "release", "precision", "options"),
    [
        ("trtexec10", 10, "fp16", ["--stronglyTyped", "--noTF32", "--warmUp=200", "--duration=3", "--iterations=10"]),
        ("trtexec10", 11, "fp32", ["--noCudaGraph", "--noSpinWait", "--includeDataTransfers", "--noTF32", "--warmUp=200"]),
        ("trtexec11", 10, "tf32", ["--stronglyTyped", "--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--warmUp=200"]),
        ("trtexec11", 11, "fp32", ["--noTF32", "--warmUp=200", "--duration=3"]),
        ("trtzoo", 10, "fp32", ["--stronglyTyped", "--useCudaGraph", "--useSpinWait", "--noTF32", "--warmUp=500"]),
        ("trtzoo", 11, "fp32", ["--includeDataTransfers", "--noTF32", "--warmUp=500"]),
    ],
)
def test_a_case_becomes_the_command_that_measures_the_same(protocol, release, precision, options):
    row = PROTOCOLS[protocol]
    case = Case(
        model="dpn68",
        precision=precision,
        batch=4,
        runtime="trtexec",
        device="",
        protocol=protocol,
        cuda_graph=row.cuda_graph,
        wait=row.wait,
    )
    line = command_line(case, row, release=release, onnx=Path("onnx/dpn68.onnx"), io=(3, 224, 224))
    assert line[:2] == ["trtexec", "--onnx=onnx/dpn68.onnx"]
    assert line[2:6] == [f"--{which}hapes=images:4x3x224x224" for which in ("minS", "optS", "maxS", "s")]
    assert line[6 : 6 + len(options)] == options
    assert ("--noTF32" in line) == (precision != "tf32")


@pytest.mark.parametrize(
    ("protocol", "flush_l2", "known"),
    [("paddle2020", False, False), ("mlperf-ss", False, False), ("trtzoo", True, False), ("trtzoo", False, True)],
)
def test_trtexec_has_no_other_loop_and_flushes_no_cache(protocol, flush_l2, known):
    case = Case(model="dpn68", precision="fp32", batch=4, runtime="trtexec", device="", protocol=protocol, flush_l2=flush_l2)
    assert can_measure(case, PROTOCOLS[protocol]) == known
