"""The sweep: each case has its own process and result file, and no case stops another."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.benchmark.fakes import DEVICE, fake_job
from trtzoo.api.artifacts import model_sources
from trtzoo.benchmark import sweep as sweep_module
from trtzoo.benchmark.sweep import Subject, bench_jobs, cases, time_limit
from trtzoo.core.files import read_record, write_record
from trtzoo.core.records import CpuPeak, Identity, Result, Sample, result_name
from trtzoo.runtimes import registry
from trtzoo.runtimes.registry import AUTO, RUNTIMES


def bench(*arguments, **options):
    """The results of a sweep."""
    return (outcome.result for outcome in sweep_module.bench(*arguments, **options))


def grid(folder, *models, **facts):
    """One case a model."""
    subjects = [
        Subject(artifact=each.path, identity=each.identity, precision="fp32", batch=1)
        for each in model_sources(models, ["fp32"], folder)
    ]
    return cases(subjects, conditions={}, **{"protocol": "trtzoo", "runtime": "fake", "device": DEVICE.key} | facts)


def sweep(folder, scripts, **options):
    for model, script in scripts.items():
        fake_job(folder, model=model, script={"seconds": [0.4]} | script)
    return list(bench(bench_jobs(grid(folder, *scripts), DEVICE), folder / "results", **options))


def test_each_subject_has_a_case_for_each_combination_of_conditions(tmp_path):
    subject = Subject(artifact=tmp_path / "e", identity=Identity(model="dpn68", network="dpn68"), precision="fp32", batch=4)
    todo = cases(
        [subject],
        conditions={"cuda_graph": [True, False], "wait": ["spin", "block"]},
        protocol="trtzoo",
        runtime="rtx",
        device="d",
    )
    assert [case.name for _, case in todo] == [
        "dpn68-fp32-b4-rtx-trtzoo-graph",
        "dpn68-fp32-b4-rtx-trtzoo-graph-block",
        "dpn68-fp32-b4-rtx-trtzoo-plain",
        "dpn68-fp32-b4-rtx-trtzoo-plain-block",
    ]


def test_a_file_is_measured_under_its_own_name_classes_and_hash(tmp_path):
    identity = Identity(model="cnn", classes=5, height=8, width=8, sha256="0123456789")
    ((subject, case),) = cases(
        [Subject(artifact=tmp_path / "cnn.onnx", identity=identity, precision="fp32", batch=1)],
        conditions={},
        protocol="trtzoo",
        runtime="onnxruntime",
        device="d",
    )
    assert result_name(case, subject.identity, selected=False) == "cnn-fp32-b1-onnxruntime-trtzoo-01234567"


def test_back_and_forth_is_a_b_b_a(tmp_path):
    started = []
    made = sweep(tmp_path, {"dpn68": {}, "dpn92": {}}, runs=2, back_and_forth=True, on_start=started.append)
    assert [case.model for case in started] == ["dpn68", "dpn92", "dpn92", "dpn68"] == [run.case.model for run in made]
    kept = sorted(path.relative_to(tmp_path / "results" / DEVICE.key) for path in (tmp_path / "results").rglob("*.json"))
    assert [path.parent.name for path in kept] == ["", "", "runs", "runs"]


@pytest.mark.parametrize(
    ("fail", "kind", "reason"),
    [
        ("crash", "crash", "the process ended with status 66: it printed nothing"),
        ("kill", "memory", "the process was killed, most likely because the machine ran out of memory"),
        ("nan", "wrong-output", "10 of 10 logits are NaN or infinite"),
    ],
)
def test_one_bad_case_does_not_stop_the_sweep(tmp_path, fail, kind, reason):
    first, bad, last = sweep(tmp_path, {"dpn68": {}, "dpn92": {"fail": fail}, "dpn98": {}})
    assert first.failure is None and last.failure is None and last.samples
    assert (bad.failure.kind, bad.failure.reason) == (kind, reason)


def test_the_rate_of_a_processor_is_measured_once_per_measured_case_and_kept(tmp_path):
    calls = []
    peak = CpuPeak(rate=5e9, low=4e9, kernel="a product", turns=5, threads=2)
    (result,) = sweep(tmp_path, {"dpn68": {}}, peak=lambda: calls.append(1) or peak)
    assert (result.peak, calls) == (peak, [1])
    (again,) = sweep(tmp_path, {"dpn68": {}}, peak=lambda: calls.append(1), resume=True)
    assert (again.peak, calls) == (peak, [1])


def auto(folder, monkeypatch, candidates, **options):
    """The result of a case with the runtime "auto"."""
    monkeypatch.setattr(registry, "CANDIDATES", candidates)
    fake_job(folder, model="dpn68", script={"seconds": [0.4]})
    (result,) = bench(bench_jobs(grid(folder, "dpn68", runtime=AUTO), DEVICE), folder / "results", **options)
    return result


def test_auto_selects_the_fastest_correct_runtime_and_records_why(tmp_path, monkeypatch):
    result = auto(tmp_path, monkeypatch, ("onnxruntime", "fake"))
    assert (result.case.runtime, result.case.protocol, result.failure) == ("fake", "trtzoo", None)
    assert result.selection_reason == "a trial of each: onnxruntime failed (error), fake 400.0 ms"
    assert (tmp_path / "results" / DEVICE.key / "dpn68-c10-s8-fp32-b1-auto-trtzoo-seeded.json").is_file()


def test_a_runtime_that_is_named_does_not_replace_the_one_that_trials_chose(tmp_path, monkeypatch):
    auto(tmp_path, monkeypatch, ("fake",))
    sweep(tmp_path, {"dpn68": {}})
    assert files(tmp_path) == [f"dpn68-c10-s8-fp32-b1-{name}-trtzoo-seeded.json" for name in ("auto", "fake")]


def test_close_runtimes_are_tried_twice_and_the_better_trial_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(RUNTIMES, "twin", msgspec.structs.replace(RUNTIMES["fake"], name="twin"))
    turns = {"fake": iter([0.40, 0.39]), "twin": iter([0.38, 0.42, 0.38])}  # the last is the measurement
    monkeypatch.setattr(sweep_module, "_run", lambda job, timeout, on_start: trial(job, next(turns[job.case.runtime])))
    assert auto(tmp_path, monkeypatch, ("fake", "twin")).selection_reason == (
        "a trial of each, the better of two turns: fake 390.0 ms, twin 380.0 ms"
    )


def trial(job, seconds):
    return Result(
        case=job.case,
        device=job.device,
        selection_reason=job.selection_reason,
        samples=[Sample(total=seconds, compute=seconds)] * 5,
    )


def test_auto_without_a_working_runtime_is_a_result_with_a_failure(tmp_path, monkeypatch):
    result = auto(tmp_path, monkeypatch, ("onnxruntime", "openvino"))
    assert result.failure.kind == "error" and "ONNX Runtime" in result.failure.reason


def test_auto_with_one_installed_runtime_runs_no_trial(tmp_path, monkeypatch):
    assert auto(tmp_path, monkeypatch, ("fake",)).selection_reason == "only fake is installed"


def test_resume_keeps_the_selected_runtime(tmp_path, monkeypatch):
    first = auto(tmp_path, monkeypatch, ("fake",))
    again = auto(tmp_path, monkeypatch, ("onnxruntime", "fake"), resume=True)
    assert (again.started, again.selection_reason, again.samples) == (first.started, first.selection_reason, first.samples)


def test_a_case_that_hangs_times_out(tmp_path):
    (hung,) = sweep(tmp_path, {"dpn68": {"fail": "hang"}}, timeout=3)
    assert (hung.failure.kind, hung.failure.reason) == ("timeout", "no result after 3 s")


@pytest.mark.parametrize(
    ("protocol", "seconds", "limit"),
    [("trtzoo", None, 607), ("mlperf-ss", None, 1800), ("trtzoo", 600, 1801), ("trial", 1, 602.4)],
)
def test_the_default_time_limit_has_room_for_the_protocol(tmp_path, protocol, seconds, limit):
    (job,) = bench_jobs(grid(tmp_path, "dpn68", protocol=protocol), DEVICE, seconds=seconds)
    assert time_limit(job) == pytest.approx(limit)


def test_a_case_that_hangs_times_out_after_its_protocols_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_module, "TIMEOUT", 1.0)
    fake_job(tmp_path, model="dpn68", script={"fail": "hang"})
    (hung,) = bench(bench_jobs(grid(tmp_path, "dpn68", protocol="trial"), DEVICE), tmp_path / "results")
    assert (hung.failure.kind, hung.failure.reason) == ("timeout", "no result after 3 s")


def test_each_result_is_on_disk_when_it_is_yielded(tmp_path):
    fake_job(tmp_path, model="dpn68")
    fake_job(tmp_path, model="dpn92")
    todo = grid(tmp_path, "dpn68", "dpn92")
    yielded = []
    for result in bench(bench_jobs(todo, DEVICE), tmp_path / "results"):
        yielded.append(result)
        files = sorted((tmp_path / "results" / DEVICE.key).glob("*.json"))
        assert [read_record(path, Result) for path in files] == yielded


def test_a_case_without_its_file_fails_and_leaves_no_result(tmp_path):
    todo = grid(tmp_path, "dpn68")
    (result,) = bench(bench_jobs(todo, DEVICE), tmp_path / "results")
    assert (result.failure.kind, result.failure.reason) == ("error", f"there is no {tmp_path}/dpn68-fp32.onnx")
    assert not (tmp_path / "results").exists()


def test_resume_keeps_good_results_of_unchanged_artifacts_and_measures_the_rest(tmp_path):
    first = sweep(tmp_path, {"dpn68": {}, "dpn92": {"fail": "zeros"}, "dpn98": {}})
    again = sweep(tmp_path, {"dpn68": {"seconds": [0.8]}, "dpn92": {"seconds": [0.8]}}, resume=True)
    assert again[0] == first[0]
    assert first[1].failure and again[1].samples[0].total == 0.8
    fake_job(tmp_path, model="dpn98", script={"seconds": [0.7]}, graph=b"another graph")
    (fresh,) = bench(bench_jobs(grid(tmp_path, "dpn98"), DEVICE), tmp_path / "results", resume=True)
    assert fresh.samples[0].total == 0.7


def test_resume_measures_an_artifact_again_that_is_not_the_one_of_its_sidecar(tmp_path):
    (first,) = sweep(tmp_path, {"dpn68": {}})
    (artifact,) = tmp_path.glob("dpn68*.onnx")
    artifact.write_bytes(b"changed")
    (again,) = bench(bench_jobs(grid(tmp_path, "dpn68"), DEVICE), tmp_path / "results", resume=True)
    assert not first.failure and "it was changed or truncated" in again.failure.reason


def test_resume_says_which_results_it_kept(tmp_path):
    sweep(tmp_path, {"dpn68": {}})
    fake_job(tmp_path, model="dpn92", script={"seconds": [0.4]})
    jobs, started = bench_jobs(grid(tmp_path, "dpn68", "dpn92"), DEVICE), []
    found = sweep_module.bench(jobs, tmp_path / "results", resume=True, on_start=started.append)
    assert [(each.result.case.model, each.kept) for each in found] == [("dpn68", True), ("dpn92", False)]
    assert [case.model for case in started] == ["dpn92"]


@pytest.mark.parametrize(("setting", "kept"), [("off: the stream is not capturing", True), ("off", False)])
def test_resume_keeps_a_case_whose_cuda_graph_failed_but_not_one_measured_without_on_purpose(tmp_path, setting, kept):
    (first,) = sweep(tmp_path, {"dpn68": {}})
    plain = msgspec.structs.replace(first.case, cuda_graph=False)
    settled = msgspec.structs.replace(first, case=plain, settings={"cuda graph": setting})
    write_record(tmp_path / "results" / DEVICE.key / f"{settled.name}.json", settled)
    (job,) = bench_jobs(grid(tmp_path, "dpn68", cuda_graph=True), DEVICE)
    for fallback in (True, False):
        asked = msgspec.structs.replace(job, options={"fallback": fallback})
        found = sweep_module._kept_result(tmp_path / "results" / DEVICE.key, asked)
        assert found == (settled if kept and fallback else None)


def test_a_number_of_threads_is_a_part_of_the_case_its_file_and_the_result(tmp_path):
    fake_job(tmp_path, model="dpn68", script={"seconds": [0.4]})
    todo = grid(tmp_path, "dpn68", threads=2)
    (result,) = bench(bench_jobs(todo, DEVICE), tmp_path / "results")
    assert (result.case.threads, result.threads) == (2, 2)
    assert files(tmp_path) == ["dpn68-c10-s8-fp32-b1-fake-trtzoo-threads2-seeded.json"]


def test_resume_does_not_keep_a_result_of_other_conditions(tmp_path):
    (first,) = sweep(tmp_path, {"dpn68": {}})
    path = tmp_path / "results" / DEVICE.key / f"{first.name}.json"
    write_record(path, msgspec.structs.replace(first, case=msgspec.structs.replace(first.case, flush_l2=True)))
    (again,) = sweep(tmp_path, {"dpn68": {"seconds": [0.8]}}, resume=True)
    assert again.samples[0].total == 0.8


def files(folder):
    return sorted(path.relative_to(folder / "results" / DEVICE.key).as_posix() for path in folder.glob("results/*/**/*.json"))


def test_further_runs_follow_sweep_by_sweep_in_a_subfolder_and_a_new_first_run_deletes_them(tmp_path):
    done = sweep(tmp_path, {"dpn68": {}, "dpn92": {}}, runs=3)
    assert [result.case.model for result in done] == ["dpn68", "dpn92"] * 3
    names = [f"{model}-c10-s8-fp32-b1-fake-trtzoo-seeded" for model in ("dpn68", "dpn92")]
    further = [f"runs/{name}.{run}.json" for name in names for run in (2, 3)]
    assert files(tmp_path) == [f"{name}.json" for name in names] + further
    (tmp_path / "results" / DEVICE.key / further[0]).unlink()
    again = sweep(tmp_path, {"dpn68": {"seconds": [0.8]}, "dpn92": {"seconds": [0.8]}}, runs=3, resume=True)
    assert [result.samples[0].total for result in again] == [0.4, 0.4, 0.8, 0.4, 0.4, 0.4]
    sweep(tmp_path, {"dpn68": {}})
    assert files(tmp_path) == [f"{name}.json" for name in names] + further[2:]


def test_seconds_extends_the_sampling_time(tmp_path):
    fake_job(tmp_path, model="dpn68", script={"seconds": [0.5]})
    todo = grid(tmp_path, "dpn68")
    (result,) = bench(bench_jobs(todo, DEVICE, seconds=20), tmp_path / "results")
    assert len(result.samples) == 40


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    fake_job(tmp_path, model="dpn68", script={"fail": "hang"})
    (tmp_path / "sitecustomize.py").write_text("import os\nopen(f'{os.environ[\"PIDS\"]}/{os.getpid()}.pid', 'w').close()\n")
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)]), "PIDS": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", SWEEP.format(folder=str(tmp_path))], cwd=root, env=env)
    child = wait_for(lambda: {int(path.stem) for path in tmp_path.glob("*.pid")} - {parent.pid}).pop()
    time.sleep(2)  # until it measures
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(child))


SWEEP = """
from pathlib import Path
from tests.benchmark.fakes import DEVICE
from tests.benchmark.test_sweep import grid
from trtzoo.benchmark.sweep import bench, bench_jobs
folder = Path({folder!r})
list(bench(bench_jobs(grid(folder, "dpn68"), DEVICE), folder / "results"))
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] != "Z"


def wait_for(condition, seconds=30):
    late = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < late
        time.sleep(0.05)
    return found
