"""Comparisons: which cells match, which are refused and why, and which runs count."""

from itertools import product

import pytest
from msgspec.structs import replace

from tests.report.results import DEVICE
from tests.report.runs import run, turns
from trtzoo.core.records import Device, Failure, GpuSettings
from trtzoo.report.compare.cells import compare, interleaved
from trtzoo.report.compare.table import sentences, table
from trtzoo.report.compare.verdicts import Ratio
from trtzoo.report.tables.formats import FORMATS, render

T4 = Device(key="tesla-t4", name="Tesla T4", kind="gpu", driver="580.1", sm=75)
BROKEN = Failure(kind="timeout", reason="no result after 600 s")


def failed(**more):
    return replace(run(**more), samples=(), failure=BROKEN)


# --- matching ---


def test_every_cell_finds_its_own_in_any_order():
    grid = list(product(("dpn68", "densenet121"), ("fp32", "fp16"), (1, 8)))
    old = [run(0.01 * (1 + n), model=m, precision=p, batch=b, at=n) for n, (m, p, b) in enumerate(grid)]
    new = [run(0.02 * (1 + n), model=m, precision=p, batch=b, at=900 + n) for n, (m, p, b) in enumerate(grid)]
    found = compare(old, new[::-1])
    assert len(found.cells) == 8
    assert all(cell.ratio.value == pytest.approx(2, rel=0.01) for cell in found.cells)
    assert [cell.before[0].case for cell in found.cells] == [cell.after[0].case for cell in found.cells]


def test_a_flushed_cache_does_not_compare_with_one_that_is_not():
    found = compare([run(cuda_graph=True)], [run(at=50, cuda_graph=True, flush_l2=True)])
    assert not found.cells
    assert sentences(found) == ["Not compared, because L2 cache is not flushed in A and flushed in B: dpn68 fp32 b1."]


@pytest.mark.parametrize(
    ("change", "field", "values"),
    [
        ({"precision": "fp16"}, "precision", ("fp32", "fp16")),
        ({"protocol": "paddle2020"}, "protocol", ("trtzoo", "paddle2020")),
        ({"cuda_graph": True}, "CUDA graph", ("none", "on")),
        ({"device": T4}, "device", ("A CPU, 2 cores", "Tesla T4")),
        ({"model": "dpn92"}, "model", ("dpn68", "dpn92")),
        ({"batch": 4}, "batch", ("1", "4")),
        ({"form": "c10-s32"}, "form", ("none", "c10-s32")),
        ({"io": "fp16"}, "input and output", ("fp32", "fp16")),
        ({"threads": 1}, "threads", ("2", "1")),
        ({"settings": {"transfers": "off"}}, "transfers", ("on", "off")),
    ],
    ids=str,
)
def test_cells_that_do_not_compare_are_refused_with_the_differing_field(change, field, values):
    settings = {"settings": {"transfers": "on"}} if "settings" in change else {}
    found = compare([run(**settings)], [run(at=50, **change)])
    (refusal,) = found.refused
    assert not found.cells
    assert (refusal.field, (refusal.before, refusal.after)) == (field, values)
    assert sentences(found) == [f"Not compared, because {field} is {values[0]} in A and {values[1]} in B: dpn68 fp32 b1."]


@pytest.mark.parametrize(
    "change",
    [
        {"versions": {"onnxruntime": "2"}},
        {"runtime": "openvino", "versions": {"openvino": "1"}},
        {"weights": None},
        {"check": None},
        {"device": replace(DEVICE, driver="2")},
        {"device": replace(DEVICE, uuid="GPU-2")},
        {"settings": {"kernel cache": "new"}},
        {"threads": 0, "io": ""},
        {"gpu_settings": GpuSettings(persistence_mode="on", compute_mode="default")},
    ],
    ids=str,
)
def test_another_build_runtime_or_unknown_condition_is_compared_and_shown(change):
    found = compare([run()], [run(at=50, **change)])
    assert len(found.cells) == 1 and not found.refused


@pytest.mark.parametrize(
    ("here", "there", "field", "values"),
    [
        ({"power_limit": 70.0}, {"power_limit": 60.0}, "power limit", ("70 W", "60 W")),
        ({"ecc": "on"}, {"ecc": "off"}, "ECC", ("on", "off")),
        ({"mig": "on"}, {"mig": "off"}, "MIG", ("on", "off")),
        (
            {"application_sm_clock": 585e6},
            {"application_sm_clock": 1590e6},
            "application clocks",
            ("SM 585 MHz", "SM 1590 MHz"),
        ),
        (
            {"pcie_generation": 3, "pcie_width": 16},
            {"pcie_generation": 3, "pcie_width": 8},
            "PCIe link",
            ("generation 3 x16", "generation 3 x8"),
        ),
    ],
)
def test_a_gpu_of_other_settings_is_refused_and_one_of_unknown_settings_is_not(here, there, field, values):
    sides = [[run(at=at, gpu_settings=GpuSettings(**known))] for at, known in ((0, here), (50, there))]
    (refusal,) = compare(*sides).refused
    assert (refusal.field, (refusal.before, refusal.after)) == (field, values)
    assert compare(sides[0], [run(at=50, gpu_settings=GpuSettings())]).cells


def test_a_setting_that_does_not_change_a_latency_is_shown_if_it_differs():
    modes = [GpuSettings(power_limit=70.0, persistence_mode=mode) for mode in ("on", "off")]
    shown = table(compare([run(gpu_settings=modes[0])], [run(at=50, gpu_settings=modes[1])]))
    assert {"A: persistence mode on.", "B: persistence mode off."} <= set(shown.caption)
    assert "power limit 70 W" in shown.caption[0]


def test_engines_of_two_sets_of_builder_options_are_compared_and_the_options_shown():
    settings = [{"builder options": f"--opt-level {level}"} for level in (3, 5)]
    found = compare([run(settings=settings[0])], [run(at=50, settings=settings[1])])
    assert len(found.cells) == 1 and not found.refused
    assert {"A: builder options --opt-level 3.", "B: builder options --opt-level 5."} <= set(table(found).caption)


def test_two_runtimes_on_both_sides_are_compared_with_themselves():
    sides = [
        [run(seconds, runtime=name, at=at) for name, seconds in (("onnxruntime", 0.01), ("openvino", 0.03))] for at in (0, 900)
    ]
    found = compare(*sides)
    assert [cell.ratio.value for cell in found.cells] == pytest.approx([1, 1], rel=0.01)
    assert [cell.after[0].case.runtime for cell in found.cells] == ["onnxruntime", "openvino"]


def test_cells_of_one_side_only_are_missing_by_name():
    found = compare([run(), run(model="dpn92")], [run(at=900), run(model="dpn98", batch=4, at=900)])
    assert len(found.cells) == 1
    assert sentences(found) == ["In A only: dpn92 fp32 b1.", "In B only: dpn98 fp32 b4."]


def test_cells_that_differ_alike_share_a_sentence():
    old = [run(batch=batch) for batch in (1, 4, 8)]
    found = compare(old, [run(batch=batch, device=T4) for batch in (1, 4, 8)])
    (sentence,) = sentences(found)
    assert sentence.startswith("Not compared, because device is A CPU, 2 cores in A and Tesla T4 in B: dpn68 fp32 b1")


def test_runs_of_one_side_must_be_of_one_build():
    found = compare([run(), run(at=900, versions={"onnxruntime": "2"})], [run(at=1800)])
    (refusal,) = found.refused
    assert (refusal.field, refusal.before, refusal.after) == ("versions", "onnxruntime 1.2.3", "onnxruntime 2")
    assert refusal.sides == ("A", "another run of A")


def test_runs_of_one_side_must_be_of_one_gpu():
    first, second = (replace(T4, uuid=f"GPU-{number}") for number in "12")
    found = compare([run(device=first), run(device=second, at=900)], [run(device=first, at=1800)])
    assert sentences(found) == ["Not compared, because GPU is GPU-1 in A and GPU-2 in another run of A: dpn68 fp32 b1."]


def test_equal_gpus_of_one_machine_are_compared_with_themselves():
    second = replace(T4, key="tesla-t4-device1", index=1)
    found = compare([run(device=T4), run(device=second, at=300)], [run(device=second, at=600), run(device=T4, at=900)])
    assert [{result.device.index for result in cell.before + cell.after} for cell in found.cells] == [{0}, {1}]
    assert [row[0].value for row in table(found).rows[:2]] == ["dpn68 fp32 b1 Tesla T4", "dpn68 fp32 b1 Tesla T4 (device 1)"]


def test_one_run_on_both_sides_is_not_a_comparison():
    found = compare([run(), run(batch=4)], [run(), run(batch=4, at=900)])
    assert len(found.cells) == 1
    assert sentences(found) == ["The same run on both sides, not measured again: dpn68 fp32 b1."]


def test_a_failure_is_reported_and_the_rest_is_compared():
    found = compare([run(), run(batch=4)], [failed(at=900), run(batch=4, at=900)])
    assert len(found.cells) == 1 and found.broken
    assert sentences(found) == ["In A only: dpn68 fp32 b1.", "Failed in B: dpn68 fp32 b1: timeout: no result after 600 s"]
    assert not compare([failed(), run(batch=4)], [failed(at=900), run(batch=4, at=900)]).broken


# --- which runs count ---


def test_three_interleaved_runs_find_five_percent_and_call_the_same_build_the_same():
    for slower, verdict in ((1.05, "SLOWER"), (1.0, "SAME"), (0.95, "FASTER")):
        (cell,) = compare(*turns(3, slower=slower)).cells
        assert (cell.interleaved, cell.verdict) == (True, verdict)


def test_one_run_a_side_proves_little():
    (cell,) = compare([run()], [run(0.021, at=5000)]).cells
    assert cell.verdict == "UNCLEAR"
    (cell,) = compare([run()], [run(0.024, at=5000)]).cells
    assert cell.verdict == "SLOWER"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([0], [10], True),
        ([10], [0], True),
        ([0], [100], False),
        ([0, 100], [10, 90], True),
        ([0, 20], [100, 120], False),
        ([0, 10], [20, 30], False),
        ([0, 100, 200], [10, 110, 210], True),
        ([0, 100], [10], False),
    ],
)
def test_interleaved_runs_are_neighbours_in_time(old, new, expected):
    assert interleaved([run(at=at) for at in old], [run(at=at) for at in new]) is expected


def test_runs_without_a_time_are_not_interleaved():
    before, after = (replace(run(seed=seed), started="") for seed in (1, 2))
    assert interleaved([before], [after]) is False


def test_a_disturbed_run_and_its_partner_are_left_out_if_there_are_others():
    old, new = turns(4)
    new[1] = run(0.06, at=45, other_load=0.9)
    (cell,) = compare(old, new).cells
    assert (len(cell.before), len(cell.after), cell.left_out) == (3, 3, 2)
    assert cell.verdict == "SAME"


def test_a_single_disturbed_run_proves_nothing_and_says_why():
    (cell,) = compare([run()], [run(0.06, at=900, other_load=0.9)]).cells
    assert cell.ratio.value > 2.5
    assert (cell.verdict, cell.warning) == ("UNCLEAR", "other programs used 0.9 cores (limit 0.15)")
    assert not cell.slower_than(0.03)


def test_a_gate_fails_a_slowdown_that_is_proven_to_exceed_it():
    (cell,) = compare(*turns(3, slower=1.05)).cells
    assert replace(cell, ratio=Ratio(1.05, 1.031, 1.07)).slower_than(0.03)
    assert not replace(cell, ratio=Ratio(1.05, 1.029, 1.07)).slower_than(0.03)


def test_each_protocol_s_reported_latency_is_compared():
    slow_copies = [run(protocol=protocol, at=at) for at in (0, 900) for protocol in ("trtexec11", "mlperf-ss", "paddle2020")]
    found = compare(slow_copies[:3], slow_copies[3:])
    assert [cell.ratio.value for cell in found.cells] == pytest.approx([1, 1, 1], abs=0.01)


# --- the table ---


def test_a_table_shows_the_cells_their_mean_and_what_differs():
    old, new = turns(3, slower=1.05)
    others = turns(3, slower=1.05, model="dpn92", versions={"onnxruntime": "1.2.3"})
    shown = table(compare([*old, *others[0]], [replace(r, versions={"onnxruntime": "2"}) for r in (*new, *others[1])]))
    assert [row[0].value for row in shown.rows] == ["dpn68 fp32 b1", "dpn92 fp32 b1", "geometric mean"]
    assert [row[-1].value for row in shown.rows] == ["SLOWER"] * 3
    assert shown.rows[2][3].value == pytest.approx(1.05, rel=0.01)
    assert "A: versions onnxruntime 1.2.3." in shown.caption and "B: versions onnxruntime 2." in shown.caption


def test_a_cell_that_proves_nothing_has_a_note_and_is_not_in_the_mean():
    old = [run(), run(batch=4), run(batch=8)]
    new = [run(at=900), run(0.06, at=900, batch=4, other_load=0.9), run(at=900, batch=8)]
    shown = table(compare(old, new))
    assert shown.notes == (shown.rows[1][-1].note,) == ("proves nothing: other programs used 0.9 cores (limit 0.15)",)
    assert shown.rows[3][3].value == pytest.approx(1, abs=0.01)


def test_cells_that_differ_only_in_protocol_are_named_with_it():
    sides = [[run(at=at, protocol=protocol) for protocol in ("trtzoo", "trtexec11")] for at in (0, 900)]
    assert {row[0].value for row in table(compare(*sides)).rows} >= {"dpn68 fp32 b1 trtzoo", "dpn68 fp32 b1 trtexec11"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_shows_it(form):
    text = render([table(compare(*turns(3, slower=1.1)))], form)
    assert "dpn68 fp32 b1" in text and "SLOWER" in text
