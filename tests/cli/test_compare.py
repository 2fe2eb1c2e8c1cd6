"""`trtzoo compare` as a user runs it."""

import csv
import json
import subprocess
import sys

import pytest

from tests.report.results import T4
from tests.report.runs import run, turns
from trtzoo.core.files import encode
from trtzoo.core.records import GpuState, Span


def save(folder, *runs):
    (folder / "a-cpu-2c").mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(runs):
        (folder / "a-cpu-2c" / f"{number}.json").write_bytes(encode(result))


@pytest.fixture
def slower(tmp_path):
    """a1, a2, a3 and b1, b2, b3: three interleaved runs, B 5 % slower; c1, c2, c3 are 8 % slower."""
    for letter, factor in (("b", 1.05), ("c", 1.08)):
        for number, (old, new) in enumerate(zip(*turns(3, slower=factor), strict=True), start=1):
            save(tmp_path / f"a{number}", old)
            save(tmp_path / f"{letter}{number}", new)


@pytest.mark.usefixtures("slower")
def test_a_slowdown_is_reported_and_the_exit_code_without_a_gate_is_zero(trtzoo):
    done = trtzoo("compare", "a1,a2,a3", "b1,b2,b3")
    assert done.returncode == 0, done.stderr
    assert "SLOWER" in done.stdout and "3+3 interleaved" in done.stdout
    assert done.stderr == ""


@pytest.mark.usefixtures("slower")
@pytest.mark.parametrize(("sides", "gate", "code"), [("ab", "4%", 0), ("ac", "4%", 1), ("ab", "1%", 1), ("ca", "0%", 0)])
def test_a_gate_fails_only_for_a_slowdown_proven_to_exceed_it(trtzoo, sides, gate, code):
    before, after = (",".join(f"{side}{number}" for number in (1, 2, 3)) for side in sides)
    done = trtzoo("compare", before, after, "--gate", gate)
    assert done.returncode == code
    assert ("1 of 1 cells" in done.stderr) == bool(code)


@pytest.mark.usefixtures("slower")
def test_the_same_runs_on_both_sides_pass_every_gate(trtzoo):
    done = trtzoo("compare", "a1,a2,a3", "a1,a2,a3", "--gate", "0%")
    assert done.returncode == 0
    assert "not measured again: dpn68 fp32 b1." in " ".join(done.stdout.split())


@pytest.mark.usefixtures("slower")
def test_every_format_carries_the_numbers(trtzoo):
    words = ("compare", "a1,a2,a3", "c1,c2,c3", "--format")
    (table,) = json.loads(trtzoo(*words, "json").stdout)["tables"]
    (row,) = table["rows"]
    assert row["Verdict"] == "SLOWER" and 1 < row["from"] < row["B/A"] < row["to"]
    head, first, *_ = csv.reader(trtzoo(*words, "csv").stdout.splitlines())
    assert dict(zip(head, first, strict=True))["Verdict"] == "SLOWER"
    assert "| dpn68 fp32 b1 |" in trtzoo(*words, "md").stdout


@pytest.mark.usefixtures("slower")
def test_comparing_imports_no_framework(tmp_path):
    heavy = {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "matplotlib", "altair"}
    code = f"""
import atexit, sys
from trtzoo.cli import main
atexit.register(lambda: print("heavy", *set(sys.modules) & {heavy!r}, file=sys.stderr))
sys.argv = ["trtzoo", "compare", "a1", "b1"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == "heavy\n" and "dpn68 fp32 b1" in done.stdout


def test_incomparable_results_are_refused_with_the_differing_field(trtzoo, tmp_path):
    save(tmp_path / "a", run())
    save(tmp_path / "b", run(at=50, io="fp16"))
    done = trtzoo("compare", "a", "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "trtzoo: Nothing can be compared. Not compared, because input and output is fp32 in A and fp16 in B: dpn68 fp32 b1.\n"
    )


def test_damaged_files_are_skipped_by_name_and_the_exit_code_is_one(trtzoo, tmp_path):
    save(tmp_path / "a", run(), run(batch=4))
    save(tmp_path / "b", run(at=900), run(at=900, batch=4))
    (tmp_path / "b" / "a-cpu-2c" / "1.json").write_text("{")
    done = trtzoo("compare", "a", "b")
    assert done.returncode == 1
    assert done.stderr.startswith("skipped: b/a-cpu-2c/1.json is damaged")
    assert "dpn68 fp32 b1" in done.stdout and "In A only: dpn68 fp32 b4." in done.stdout


def test_an_incomparable_part_makes_the_exit_code_one(trtzoo, tmp_path):
    save(tmp_path / "a", run(), run(batch=4))
    save(tmp_path / "b", run(at=900), run(at=900, batch=4, threads=1))
    done = trtzoo("compare", "a", "b")
    assert done.returncode == 1
    assert "because threads is 2 in A and 1 in B: dpn68 fp32 b4." in " ".join(done.stdout.split())


@pytest.mark.parametrize("gate", ["3", "0.03", "-3%", "x", "3%%"])
def test_a_gate_is_a_percentage(trtzoo, tmp_path, gate):
    save(tmp_path / "a", run())
    done = trtzoo("compare", "a", "a", f"--gate={gate}")
    assert done.returncode == 2
    assert done.stderr == f"trtzoo: --gate {gate!r} is not a percentage. Example: --gate 3%\n"


def test_the_table_fits_eighty_columns(trtzoo, tmp_path):
    models = [("densenet264", "fp16", 128), ("dpn131", "fp32", 1)]
    for side, at in (("a", 0), ("b", 5)):
        grid = [run(0.1234 * (1 + at), at=at, model=m, precision=p, batch=b) for m, p, b in models]
        save(tmp_path / side, *grid)
    done = trtzoo("compare", "a", "b", env={"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    assert "densenet264 fp16 b128" in done.stdout


@pytest.mark.parametrize(("capped", "code"), [((30, 30), 1), ((0, 30), 0)], ids=["both sides", "one side"])
def test_a_gate_fails_on_a_gpu_that_is_power_capped_on_both_sides(trtzoo, tmp_path, capped, code):
    """B is 25 % slower, five runs a side. A power cap of B alone may be the reason, so it proves nothing."""
    for letter, readings, factor in (("a", capped[0], 1.0), ("b", capped[1], 1.25)):
        clock = Span(low=900e6, median=1100e6, high=1590e6) if readings else Span(low=1100e6, median=1100e6, high=1100e6)
        state = GpuState(sm_clock=clock, reasons={"software power cap": readings} if readings else {}, readings=30)
        runs = [run(0.02 * factor, at=100 * n + 900 * (letter == "b"), device=T4, gpu_state=state) for n in range(5)]
        save(tmp_path / letter, *runs)
    done = trtzoo("compare", "a", "b", "--gate", "3%", "--format", "md")
    assert done.returncode == code, done.stdout + done.stderr
    assert ("1 of 1 cells are slower by more than 3%." in done.stderr) == bool(code)
    expected = "Software power cap on both sides" if code else "software power cap in 30 of 30 readings, in B only"
    assert expected in done.stdout
