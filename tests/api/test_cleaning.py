"""`clean`: what is damaged, stale or left over is found by name and reason, and nothing else is."""

import json
import os
import shutil
from hashlib import sha256

import msgspec
import pytest

from tests.artifacts.sidecars import PLAN, make_sidecar
from tests.benchmark.fakes import fake_job
from tests.report.judged import judged
from tests.report.results import result
from trtzoo.api import cleaning
from trtzoo.artifacts.engines import Stamp
from trtzoo.core.files import encode, locked, replacing, sidecar_path, write_record
from trtzoo.core.records import Identity
from trtzoo.exporter import plan as exporter
from trtzoo.hardware.devices import cpu_device
from trtzoo.models.download import Download

CPU = cpu_device()


@pytest.fixture(autouse=True)
def current(monkeypatch, tmp_path):
    """Graphs of the tests are not stale unless a test makes them so."""
    monkeypatch.setattr(exporter, "stale_reason", lambda sidecar: "")
    monkeypatch.chdir(tmp_path)


def cleaner(tmp_path, **options):
    return cleaning.Cleaner(onnx=tmp_path / "onnx", engines=tmp_path / "engines", results=tmp_path / "benchmarks", **options)


def listed(tmp_path, **options):
    """What is found: kind, reason and file names, the artifact's folder left out."""
    found = [item for item, _ in cleaner(tmp_path, **options).find()]
    return [(item.kind, item.why, *(path.rpartition("/")[2] for path in item.paths)) for item in found]


def graph(tmp_path, model="dpn68", **changes):
    """An exported graph as its writer leaves it."""
    folder = tmp_path / "onnx"
    folder.mkdir(exist_ok=True)
    path = folder / f"{model}-fp32.onnx"
    fake_job(folder, model=model)
    with locked(path):
        pass
    if changes:
        sidecar = cleaning._read(sidecar_path(path), cleaning.OnnxSidecar)
        sidecar_path(path).write_bytes(encode(msgspec.structs.replace(sidecar, **changes)))
    return path


def engine(tmp_path, name="dpn68-fp16-b1", **changes):
    """An engine as its builder leaves it, up to date."""
    path = tmp_path / "engines" / "t4" / "rtx-1.7.1.116" / f"{name}.engine"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PLAN)
    flags = {"strongly_typed": True, "tf32": False, "workspace": 1, "detailed": False}
    made = make_sidecar(flags=flags, **changes)
    names = ("precision", "batch", "gpu", "sm", "card", "flavour", "version", "options")
    facts = {name: getattr(made, name) for name in names} | {name: flags[name] for name in ("tf32", "workspace", "detailed")}
    recipe = cleaning.builder.Recipe(onnx_sha256=made.onnx.sha256, code=cleaning.builder._code(), **facts)
    sidecar_path(path).write_bytes(encode(msgspec.structs.replace(made, inputs_sha256=recipe.sha256)))
    with locked(path):
        pass
    return path


def test_what_is_whole_and_current_is_not_listed(tmp_path):
    graph(tmp_path)
    engine(tmp_path)
    write_record(tmp_path / "benchmarks" / "a-cpu-2c" / "one.json", result())
    assert listed(tmp_path, verify=True) == listed(tmp_path) == []


def test_a_file_of_another_size_is_damaged_and_one_of_another_hash_if_it_is_verified(tmp_path):
    path = graph(tmp_path)
    path.write_bytes(path.read_bytes().upper())
    damaged = "it is not the file that its sidecar describes"
    names = ("dpn68-fp32.npz", "dpn68-fp32.onnx", "dpn68-fp32.json")
    assert listed(tmp_path) == []
    assert [(kind, why, sorted(files)) for kind, why, *files in listed(tmp_path, verify=True)] == [
        ("damaged", damaged, sorted(names))
    ]
    path.write_bytes(b"")
    assert [row[:2] for row in listed(tmp_path)] == [("damaged", damaged)]


def test_a_graph_without_its_golden_sample_and_a_sidecar_that_cannot_be_read_are_damaged(tmp_path):
    graph(tmp_path).with_suffix(".npz").unlink()
    graph(tmp_path, "dpn92").with_suffix(".json").write_text("{")
    assert listed(tmp_path) == [
        ("damaged", "its golden sample is missing or another", "dpn68-fp32.onnx", "dpn68-fp32.json"),
        ("damaged", "its sidecar cannot be read", "dpn92-fp32.onnx", "dpn92-fp32.json"),
        ("orphan", "a golden sample of no file", "dpn92-fp32.npz"),
    ]


def test_an_export_of_other_code_is_stale(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("TRTZOO_CACHE", str(tmp_path / "cache"))
    graph(tmp_path)
    assert [row[:2] for row in listed(tmp_path)] == [("stale", "exported by other code or packages")]


def test_a_real_export_is_current(tmp_path, small, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("TRTZOO_CACHE", str(tmp_path / "cache"))
    shutil.copytree(small, tmp_path / "onnx")
    assert listed(tmp_path, verify=True) == []


def test_a_users_files_are_never_listed(tmp_path):
    graph(tmp_path, network="").write_bytes(b"another file under a foreign graph's name")
    for name in ("mine.onnx", "mine.npz", "notes.json", "list.json", ".draft.tmp-1/a", "x.engine", "timing.txt"):
        (tmp_path / "onnx" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "onnx" / name).write_text("[]")
    os.utime(tmp_path / "onnx" / ".draft.tmp-1", (0, 0))
    folder = engine(tmp_path).parent
    for name in ("mine.engine", "mine.json", "a.layers.json", "b.kernels", "c.cache"):
        (folder / name).write_text("[]")
    (tmp_path / "benchmarks" / "a-cpu-2c").mkdir(parents=True)
    (tmp_path / "benchmarks" / "a-cpu-2c" / "mine.json").write_text("{")
    rows = listed(tmp_path, verify=True)
    assert [sorted(files) for _, _, *files in rows] == [["dpn68-fp32.json", "dpn68-fp32.npz"]]


def test_links_are_neither_followed_nor_deleted(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    graph(elsewhere.parent)
    (tmp_path / "onnx").rename(elsewhere)
    (elsewhere / "dpn68-fp32.onnx").write_bytes(b"")
    (tmp_path / "onnx").mkdir()
    for path in elsewhere.iterdir():
        (tmp_path / "onnx" / path.name).symlink_to(path)
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "t4").symlink_to(elsewhere)
    assert listed(tmp_path, verify=True) == []


def test_a_name_in_a_sidecar_leads_to_no_other_folder_and_is_no_pattern(tmp_path):
    (tmp_path / "secret.npz").write_bytes(b"")
    path = graph(tmp_path)
    text = sidecar_path(path).read_text()
    for name in ("../secret.npz", "*"):
        sidecar_path(path).write_text(text.replace('"dpn68-fp32.npz"', json.dumps(name)))
        assert all("secret" not in file for _, _, *files in listed(tmp_path) for file in files)
    (item, examine), *_ = cleaner(tmp_path).find()
    assert cleaning.delete(item, examine) == "" and (tmp_path / "secret.npz").exists()


def test_engines_of_another_tensorrt_of_an_earlier_graph_and_of_other_code_are_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(cleaning, "_version", lambda module: "1.7.1.116")
    graph(tmp_path)
    old = Stamp(name="dpn68-fp32.onnx", sha256="an earlier one", bytes=1, modified=1)
    engine(tmp_path, "a", version="1.6")
    engine(tmp_path, "b", onnx=old)
    sidecar = sidecar_path(engine(tmp_path, "c"))
    sidecar.write_text(sidecar.read_text().replace('"inputs_sha256": "', '"inputs_sha256": "0'))
    engine(tmp_path, "d")
    assert listed(tmp_path) == [
        ("stale", "built by TensorRT-RTX 1.6; 1.7.1.116 is installed", "a.engine", "a.json"),
        ("stale", "built from an earlier dpn68-fp32.onnx", "b.engine", "b.json"),
        ("stale", "built by other code", "c.engine", "c.json"),
    ]


def test_what_killed_processes_and_deleted_files_leave_is_orphaned(tmp_path):
    path = graph(tmp_path)
    path.unlink()
    (tmp_path / "onnx" / f".{path.name}.tmp-abc").mkdir()
    gone = engine(tmp_path)
    for suffix in (".layers.json", ".kernels"):
        gone.with_suffix(suffix).write_text("[]")
    gone.unlink()
    sidecar_path(gone).unlink()
    (gone.parent / "timing.cache").write_text("")
    (gone.parent / "dpn68-fp32.npz").write_text("")
    assert listed(tmp_path) == [
        ("orphan", "the work folder of a process that was killed", ".dpn68-fp32.onnx.tmp-abc"),
        ("orphan", "a sidecar without its file", "dpn68-fp32.npz", "dpn68-fp32.json"),
        ("orphan", "it belongs to dpn68-fp16-b1.engine, which is missing", "dpn68-fp16-b1.kernels"),
        ("orphan", "it belongs to dpn68-fp16-b1.engine, which is missing", "dpn68-fp16-b1.layers.json"),
        ("orphan", "a golden sample of no file", "dpn68-fp32.npz"),
        ("orphan", "a timing cache without engines", "timing.cache"),
    ]


def test_an_engine_without_its_sidecar_is_orphaned(tmp_path):
    path = engine(tmp_path)
    sidecar_path(path).unlink()
    path.with_suffix(".kernels").write_bytes(b"")
    why = "an engine without its sidecar, which nothing opens"
    assert listed(tmp_path) == [("orphan", why, "dpn68-fp16-b1.engine", "dpn68-fp16-b1.kernels")]


def test_a_result_that_cannot_be_read_is_damaged_and_a_further_run_without_its_first_is_orphaned(tmp_path):
    folder = tmp_path / "benchmarks" / "a-cpu-2c"
    for name in ("one", "runs/one.2", "runs/two.2"):
        write_record(folder / f"{name}.json", result())
    write_record(folder / "cut.json", result())
    (folder / "cut.json").write_text("{")
    assert listed(tmp_path) == [
        ("damaged", "it cannot be read as a result", "cut.json"),
        ("orphan", "a further run without its first", "two.2.json"),
    ]


def test_a_verdict_on_a_graph_that_was_exported_again_is_stale_and_one_that_cannot_be_read_is_damaged(tmp_path):
    path = graph(tmp_path)
    sidecar = cleaning._read(sidecar_path(path), cleaning.OnnxSidecar)
    sidecar_path(path).write_bytes(encode(msgspec.structs.replace(sidecar, precision="int8")))
    made = judged(weights=sidecar.weights)
    case, identity = msgspec.structs.replace(made.case, device=CPU.key, form="c10-s8"), sidecar.identity
    made = msgspec.structs.replace(made, device=CPU, case=case, identity=identity)
    folder = tmp_path / "benchmarks" / CPU.key / "verdicts"
    for name, digest in (("new", sidecar.sha256), ("old", "old")):
        after = msgspec.structs.replace(made.after, artifact_sha256=digest)
        write_record(folder / f"{name}.json", msgspec.structs.replace(made, after=after))
    write_record(folder / "cut.json", made)
    (folder / "cut.json").write_text("{")
    assert listed(tmp_path) == [
        ("damaged", "it cannot be read as a result", "cut.json"),
        ("stale", "of a file that was made again since", "old.json"),
    ]


def test_a_result_of_a_graph_that_was_exported_again_is_stale(tmp_path):
    path = graph(tmp_path)
    known = cleaning._read(sidecar_path(path), cleaning.OnnxSidecar)
    old = msgspec.structs.replace(known.identity, sha256="")
    for number, (digest, device) in enumerate([("old", CPU), (known.sha256, CPU), ("old", cpu_device_of_another_machine())]):
        made = result(model="dpn68", device=device, artifact_sha256=digest, identity=old)
        write_record(tmp_path / "benchmarks" / device.key / f"{number}.json", made)
    assert listed(tmp_path) == [("stale", "of a file that was made again since", "0.json")]


def cpu_device_of_another_machine():
    return msgspec.structs.replace(CPU, key="another-cpu-8c")


def test_a_part_of_a_download_is_orphaned_unless_the_download_is_running(tmp_path):
    folder = tmp_path / "cache" / "a.server"
    whole = folder / "w.pth"
    with replacing(whole) as work:
        (work / "w.pth").write_bytes(b"weights")
        sidecar = Download(url="https://a.server/x/w.pth", sha256=sha256(b"weights").hexdigest())
        (work / "w.json").write_bytes(encode(sidecar))
    (folder / ".v.pth.partial").write_bytes(b"we")
    (folder / ".v.pth.partial.json").write_text("{}")
    part = ("orphan", "a part of an interrupted download", ".v.pth.partial", ".v.pth.partial.json")
    assert listed(tmp_path, verify=True) == [part]
    with locked(folder / "v.pth"):
        assert listed(tmp_path) == []
    whole.write_bytes(b"another")
    damaged = ("damaged", "it is not the file that was downloaded", "w.pth", "w.json")
    assert listed(tmp_path, verify=True) == [part, damaged] and listed(tmp_path) == [part]


# --- deletion ---


def test_exactly_what_was_listed_is_deleted(tmp_path):
    path, other = graph(tmp_path), graph(tmp_path, "dpn92")
    path.write_bytes(b"")
    ((item, examine),) = cleaner(tmp_path).find()
    assert cleaning.delete(item, examine) == ""
    assert sorted(each.name for each in other.parent.iterdir()) == [
        ".locks",
        "dpn92-fp32.json",
        "dpn92-fp32.npz",
        "dpn92-fp32.onnx",
    ]


def test_a_file_that_was_made_again_or_is_being_written_is_kept(tmp_path):
    path = graph(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"")
    ((item, examine),) = cleaner(tmp_path).find()
    with locked(path):
        assert cleaning.delete(item, examine) == "another process uses it"
        assert cleaner(tmp_path).find() == []
    path.write_bytes(whole)
    assert cleaning.delete(item, examine) == "it has changed since"
    assert path.read_bytes() == whole and sidecar_path(path).exists()


def test_a_golden_sample_that_another_engine_needs_is_kept(tmp_path):
    golden = {"golden": "g.npz", "golden_sha256": sha256(b"").hexdigest()}
    one, _ = engine(tmp_path, "one", **golden), engine(tmp_path, "two", **golden)
    (one.parent / "g.npz").write_bytes(b"")
    one.write_bytes(b"")
    assert listed(tmp_path) == [("damaged", "it is not the file that its sidecar describes", "one.engine", "one.json")]
    (one.parent / "two.engine").write_bytes(b"")
    for item, examine in cleaner(tmp_path).find():
        assert cleaning.delete(item, examine) == ""
    assert [row[1:] for row in listed(tmp_path)] == [("a golden sample of no file", "g.npz")]


def test_an_identity_of_another_size_is_another_file(tmp_path):
    graph(tmp_path)
    identity = Identity(model="dpn68", network="dpn68", classes=10, height=16, width=16)
    made = result(model="dpn68", device=CPU, artifact_sha256="old", identity=identity)
    write_record(tmp_path / "benchmarks" / CPU.key / "0.json", made)
    assert listed(tmp_path) == []
