"""`trtzoo --zoo FILE` as a user runs it: another zoo in every command, in child processes, in completion and in make."""

import json

import pytest

from tests.cli.test_people import complete
from tests.making import tiny

TINY = 'family = "densenet"\narguments = { growth_rate = 8, blocks = [1, 1, 1, 1], stem = 8 }\nweights = "seeded"\n'


@pytest.fixture
def zoo(tmp_path):
    (tmp_path / "my.toml").write_text(f"[mine]\n{TINY}[densenet121]\n{TINY}[bought]\nonnx = 'files/model.onnx'\n")
    (tmp_path / "files").mkdir()
    tiny(tmp_path / "files" / "model.onnx")
    return tmp_path / "my.toml"


def test_models_lists_the_zoo_in_use_and_publishes_nothing_of_another_network(zoo, trtzoo):
    for done in (
        trtzoo("--zoo", "my.toml", "models", "--format", "json"),
        trtzoo("models", "--zoo", "my.toml", "--format", "json"),
    ):
        (table,) = json.loads(done.stdout)["tables"]
        assert [(row["Model"], row["Top1"]) for row in table["rows"]] == [
            ("mine", None),
            ("densenet121", None),
            ("bought", None),
        ]
    (table,) = json.loads(trtzoo("models", "--count", "--format", "json", env={"TRTZOO_ZOO": "my.toml"}).stdout)["tables"]
    assert [(row["Model"], row["same"]) for row in table["rows"]] == [("mine", None), ("densenet121", None)]


def test_a_network_of_the_zoo_is_exported_measured_and_shown_and_never_mixed_with_the_shipped_one(zoo, trtzoo):
    made = trtzoo("--zoo", "my.toml", "export", "--all", "--input-size", "32")
    assert (made.returncode, len(made.stdout.splitlines())) == (0, 2)
    assert "SEEDED" in made.stdout
    sidecar = json.loads((zoo.parent / "onnx" / "densenet121-fp32-s32.json").read_text())
    assert sidecar["network"].startswith("densenet121@")
    words = ("--gpu", "cpu", "--batch", 1, "--runtime", "onnxruntime", "--protocol", "trial")
    measured = trtzoo("--zoo", "my.toml", "bench", "mine", "densenet121", *words)
    assert measured.returncode == 0, measured.stderr
    refused = trtzoo("bench", "densenet121", *words)
    assert refused.returncode == 2
    assert "onnx/densenet121-fp32-s32.onnx is densenet121@" in refused.stderr
    assert "this zoo's densenet121 is densenet121. Use another --onnx-dir" in refused.stderr
    for zoo_words in (("--zoo", "my.toml"), ()):
        table = trtzoo(*zoo_words, "table", "--format", "md", "--gpu", "cpu").stdout
        (rows,) = [part for part in table.split("### ") if part.startswith("Latency in ms, FP32, on ") and "trial" in part]
        assert all(f"| {name} (32x32) |" in rows for name in ("mine", "densenet121"))
        ours = [line for line in rows.splitlines() if line.startswith("| densenet121 ")]
        assert "4.40" not in ours[0]


def test_a_file_of_the_zoo_needs_no_export(zoo, trtzoo):
    done = trtzoo("--zoo", "my.toml", "export", "bought")
    assert done.returncode == 2
    assert done.stderr == "trtzoo: bought: ONNX files of the zoo need no export.\n"


def test_a_bad_zoo_is_one_sentence(trtzoo, tmp_path):
    (tmp_path / "bad.toml").write_text("[mine]\nfamily = 'os'\n")
    for words, env in (("--zoo", "bad.toml", "models"), {}), (("models",), {"TRTZOO_ZOO": "bad.toml"}):
        done = trtzoo(*words, env=env)
        assert done.returncode == 2
        assert "bad.toml is not a zoo: There is no family 'os'. Known: densenet, dpn - at `$[mine]`." in done.stderr
        assert done.stderr.startswith("trtzoo: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["trtzoo --zoo my.toml bench ", "trtzoo bench --zoo my.toml "])
def test_completion_offers_the_models_of_the_zoo(zoo, monkeypatch, line):
    monkeypatch.chdir(zoo.parent)
    assert complete(line) == ["mine", "densenet121", "bought"]
