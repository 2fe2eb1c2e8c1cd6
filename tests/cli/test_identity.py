"""One identity: two networks never share a file, one's own export is found, and nothing is measured of what is not there."""

import msgspec
import pytest

from tests.benchmark.fakes import fake_job
from tests.classifier import CLASSES, classifier
from tests.photographs import class_folders
from trtzoo.artifacts.engines import build_command, engine_name
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.files import encode, read_record
from trtzoo.core.records import Identity
from trtzoo.hardware.devices import cpu_device

BENCH = ("bench", "--gpu", "cpu", "--runtime", "fake", "--protocol", "trial")


def exported(tmp_path, form, **changes):
    """An export of dpn68 under the name of its form, as `trtzoo export` calls it."""
    folder = tmp_path / "onnx"
    folder.mkdir(exist_ok=True)
    fake_job(folder, model="dpn68")
    usual = folder / "dpn68-fp32.onnx"
    sidecar = msgspec.structs.replace(read_record(usual.with_suffix(".json"), OnnxSidecar), **changes)
    usual.with_suffix(".json").write_bytes(encode(sidecar))
    for suffix in (".onnx", ".json"):  # the golden sample keeps its name, which the sidecar has
        usual.with_suffix(suffix).rename(folder / f"dpn68-fp32{form}{suffix}")
    sample = (folder / "dpn68-fp32.npz").read_bytes()
    (folder / f"dpn68-fp32{form}.npz").write_bytes(sample)  # for the double, which looks there
    return folder / f"dpn68-fp32{form}.onnx"


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (Identity(model="dpn68", network="dpn68"), "dpn68-fp32-b4.engine"),
        (Identity(model="dpn68", network="dpn68", batch=4), "dpn68-fixed-fp32-b4.engine"),
        (Identity(model="dpn68", network="dpn68", classes=10, height=32, width=32), "dpn68-c10-s32-fp32-b4.engine"),
        (Identity(model="dpn68", network="dpn68", io="fp16"), "dpn68-io16-fp32-b4.engine"),
        (Identity(model="dpn68", batch=4, sha256="0123456789"), "dpn68-01234567-fp32-b4.engine"),
        (Identity(model="dpn68-fp32-b4", sha256="0123456789"), "dpn68-fp32-b4-01234567-fp32-b4.engine"),
    ],
)
def test_an_engines_name_has_what_its_file_computes_and_the_batch_once(identity, name):
    assert engine_name(identity, "fp32", 4) == name


@pytest.mark.parametrize("form", ["", "-fixed", "-c10-s32", "-c10-s32x64-io16-fixed"])
def test_the_command_that_builds_an_engine_again_names_its_model(form, tmp_path):
    assert build_command(tmp_path / f"dpn68{form}-fp16-b4.engine") == "trtzoo build dpn68 --precision fp16 --batch 4"


@pytest.mark.parametrize(
    ("form", "changes", "batches"),
    [("-c10-s8", {}, ["b1", "b4", "b8"]), ("-b4-c10-s8", {"batch": 4}, ["b4"])],
    ids=["classes and size", "a fixed batch"],
)
def test_the_only_export_of_another_form_is_found_by_its_models_name(trtzoo, tmp_path, form, changes, batches):
    path = exported(tmp_path, form, **changes)
    done = trtzoo(*BENCH, "dpn68")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("dpn68")]
    assert [word for row in rows for word in row.split() if word in ("b1", "b4", "b8")] == batches
    assert all("10 classes, 8x8" in row for row in rows)
    printed = trtzoo("bench", "dpn68", "--print-trtexec", "--batch", batches[0][1:]).stdout
    assert f"--onnx={path.relative_to(tmp_path)}" in printed and "x3x8x8" in printed


def test_of_several_exports_of_other_forms_the_file_is_named(trtzoo, tmp_path):
    exported(tmp_path, "-c10-s8")
    path = exported(tmp_path, "-b4-c10-s8", batch=4)
    done = trtzoo(*BENCH, "dpn68")
    assert done.returncode == 2 and done.stderr.endswith("Choose: --onnx FILE\n")
    assert trtzoo(*BENCH, "--onnx", path.relative_to(tmp_path)).returncode == 0


def test_bench_before_export_refuses_and_leaves_nothing(trtzoo, tmp_path):
    done = trtzoo(*BENCH, "dpn68")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "trtzoo: Nothing is exported: onnx/dpn68-fp32.onnx does not exist. Run: trtzoo export dpn68 --precision fp32\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_an_evaluation_of_some_images_does_not_replace_the_one_of_all(trtzoo, tmp_path):
    classifier(tmp_path / "onnx")
    class_folders(tmp_path / "data", classes=CLASSES, each=2)
    words = ("eval", "densenet121", "--data", "data")
    assert trtzoo(*words).returncode == trtzoo(*words, "--limit", "3").returncode == 0
    assert len(list((tmp_path / "benchmarks" / cpu_device().key / "accuracy").glob("*.json"))) == 2
    table = trtzoo("table", "--format", "md").stdout
    assert "Left out: 1 evaluations of a limited number of images" in " ".join(table.split())


def test_the_double_that_computes_nothing_is_not_offered(trtzoo):
    done = trtzoo("bench", "--gpu", "cpu", "--runtime", "fak")
    assert done.returncode == 2 and "There is no runtime 'fak'." in done.stderr and "fake" not in done.stderr
    assert "fake" not in trtzoo("bench", "--help").stdout
