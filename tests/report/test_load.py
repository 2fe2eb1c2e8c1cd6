"""Result files: whole ones are read, damaged ones are told and skipped."""

from tests.report.test_tables import result
from trtzoo.report.load import load
from trtzoo.store import encode


def test_what_was_written_is_read(tmp_path):
    (tmp_path / "a-cpu-2c").mkdir()
    for batch in (1, 4):
        (tmp_path / "a-cpu-2c" / f"b{batch}.json").write_bytes(encode(result(batch=batch)))
    assert load(tmp_path) == ([result(batch=1), result(batch=4)], [])


def test_a_damaged_file_is_told_and_skipped(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "good.json").write_bytes(encode(result()))
    (tmp_path / "d" / "cut.json").write_bytes(encode(result())[:100])
    (tmp_path / "d" / "list.json").write_bytes(b"[]")
    (tmp_path / "d" / "other.json").write_bytes(encode(result()).replace(b'"schema": 1', b'"schema": 99', 1))
    results, complaints = load(tmp_path)
    assert results == [result()]
    assert len(complaints) == 3
    assert "cut.json is damaged" in complaints[0]
    assert "other.json has schema version 99; this trtzoo reads version 1" in complaints[2]


def test_an_empty_or_missing_folder_has_no_results(tmp_path):
    assert load(tmp_path) == load(tmp_path / "nowhere") == ([], [])
