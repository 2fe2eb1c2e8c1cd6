"""`trtzoo figures` as a user runs it."""

from tests.report.results import result
from trtzoo.core.files import encode


def test_four_figures_are_drawn_in_two_formats_and_a_bad_file_is_reported(trtzoo, tmp_path):
    folder = tmp_path / "benchmarks" / "a-cpu-2c"
    folder.mkdir(parents=True)
    (folder / "one.json").write_bytes(encode(result(batch=4)))
    (folder / "bad.json").write_text("{")
    done = trtzoo("figures", "--out", "plots")
    assert done.returncode == 1
    assert "skipped: benchmarks/a-cpu-2c/bad.json is damaged" in done.stderr
    names = done.stdout.split()
    assert names == [
        f"plots/{name}.{kind}" for name in ("flops", "params", "t4-fp32-b4", "t4-fp16-b4") for kind in ("png", "svg")
    ]
    assert all((tmp_path / name).stat().st_size > 10_000 for name in names)


def test_without_results_the_published_points_are_drawn(trtzoo, tmp_path):
    assert trtzoo("figures").returncode == 0
    assert len(list((tmp_path / "benchmarks" / "plots").glob("*.*g"))) == 8


def test_a_folder_that_cannot_be_written_is_one_sentence(trtzoo, tmp_path):
    (tmp_path / "file").write_text("")
    done = trtzoo("figures", "--out", "file/plots")
    assert done.returncode == 1
    assert "trtzoo: file/plots/flops.png could not be written" in done.stderr
    assert "Traceback" not in done.stderr
