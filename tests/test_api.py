"""`import trtzoo`: public functions load when used, return records, print nothing, and their examples run."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

import trtzoo
from tests.classifier import CLASSES, classifier
from tests.making import tiny
from tests.photographs import class_folders
from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.files import write_record
from trtzoo.core.records import Failure
from trtzoo.hardware.devices import cpu_device

ROOT = Path(__file__).parent.parent
FUNCTIONS = ("export", "build", "bench", "evaluate", "parity", "verdict", "read_results")
SMALL = {"weights": "seeded", "classes": 10, "input_size": 32}
HEAVY = {"torch", "onnx", "onnxruntime", "tensorrt_rtx", "numpy", "pandas", "typer", "rich"}


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A folder with dpn68 of ten classes at 32x32 under the full-size files' names, where `bench` looks for them."""
    folder = tmp_path_factory.mktemp("exported")
    for record in trtzoo.export("dpn68", onnx_dir=folder, precision="fp32,fp16", **SMALL):
        for name in ("onnx", "json"):
            record.path.with_suffix(f".{name}").rename(folder / f"dpn68-{record.order.precision}.{name}")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, known_peak):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what is there ---


def test_the_import_loads_nothing_heavy_and_every_public_name_exists():
    code = f"import sys, trtzoo; print(*set(sys.modules) & {HEAVY!r}); assert all(hasattr(trtzoo, n) for n in trtzoo.__all__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_dir_lists_the_public_names_and_an_unknown_one_is_an_attribute_error():
    assert set(trtzoo.__all__) <= set(dir(trtzoo)) and set(FUNCTIONS) <= set(trtzoo.__all__)
    with pytest.raises(AttributeError, match=r"^module 'trtzoo' has no attribute 'train'$"):
        _ = trtzoo.train


def test_importing_every_module_does_not_replace_a_function():
    code = f"""
import pkgutil, trtzoo, trtzoo.cli.commands
for name in {FUNCTIONS!r}:
    assert callable(getattr(trtzoo, name)), name
    assert not importlib.util.find_spec("trtzoo." + name), name
"""
    subprocess.run([sys.executable, "-c", f"import importlib.util\n{code}"], check=True)


def test_a_program_that_uses_it_passes_mypy_strict(tmp_path):
    (tmp_path / "program.py").write_text(
        "import trtzoo\n\n"
        "path: str = str(trtzoo.export('dpn68', weights='seeded', onnx_dir='x')[0].path)\n"
        "failed: list[str] = [row.order.file_name for row in trtzoo.build('dpn68', batch=[1, 4]) if row.error]\n"
        "seconds: list[float] = [row.samples[0].total for row in trtzoo.bench(['dpn68'], gpu='cpu')]\n"
        "share: float = trtzoo.evaluate('dpn68', data='val')[0].top1 / 50000\n"
        "reasons: tuple[str, ...] = trtzoo.parity('dpn68')[0].reasons\n"
        "words: list[str] = [row.word for row in trtzoo.verdict('dpn68', data='val')]\n"
        "complaints: tuple[str, ...] = trtzoo.read_results().complaints\n"
        "version: str = trtzoo.__version__\n"
        "models: list[str] = list(trtzoo.models.MODELS)\n"
        "try:\n    trtzoo.bench(batch=0)\nexcept trtzoo.TrtzooError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-m", "mypy", str(tmp_path / "program.py")]  # strict, by pyproject.toml
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (Path(trtzoo.__file__).parent / "py.typed").exists()


# --- what they do ---


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_every_function_runs(name, here, exported):
    (here / "onnx").symlink_to(exported)
    if name in ("export", "parity"):
        (here / "onnx").unlink()
    if name == "evaluate":
        (here / "onnx").unlink()
        classifier(here / "onnx")
        class_folders(here / "data", classes=CLASSES, each=6)
    if name == "read_results":
        trtzoo.bench("dpn68", gpu="cpu", batch=[1, 4], runtime="onnxruntime", seconds=0)
    tiny(here / "mine.onnx")
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(trtzoo, name), name, globs={})
    assert len(test.examples) >= 2
    messages = []
    doctest.DocTestRunner(verbose=False).run(test, out=messages.append)
    assert not messages, "".join(messages)


def test_nothing_is_printed_and_each_record_is_handed_over_as_it_is_made(here, capfd):
    seen = []
    records = trtzoo.export(["dpn68", "dpn68"], precision="fp32,fp16", onnx_dir=here / "a", on_result=seen.append, **SMALL)
    assert records == seen and [record.order.precision for record in records] == ["fp32", "fp16"]
    assert capfd.readouterr() == ("", "")


def test_a_case_that_fails_is_in_its_record_and_stops_nothing(here, exported):
    (here / "onnx").symlink_to(exported)
    missing, good = trtzoo.bench(["dpn92", "dpn68"], gpu="cpu", batch=1, runtime="onnxruntime", seconds=0)
    assert "onnx/dpn92-fp32.onnx" in missing.failure.reason
    assert good.failure is None


def test_a_file_that_cannot_be_evaluated_raises_unless_errors_are_collected(here):
    class_folders(here / "data", classes=CLASSES, each=2)
    with pytest.raises(trtzoo.TrtzooError, match="Run: trtzoo export dpn92"):
        trtzoo.evaluate("dpn92", data="data", gpu="cpu")
    errors = {}
    assert trtzoo.evaluate("dpn92", data="data", gpu="cpu", on_error=errors.__setitem__) == []
    assert list(errors) == ["dpn92-fp32.onnx"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: trtzoo.export("dpn86"), r"^There is no model 'dpn86'\."),
        (lambda: trtzoo.bench(batch=0), r"^--batch '0': '0' is not a whole number from 1 to 1024\."),
        (lambda: trtzoo.bench(batch=[1, 2000]), r"^--batch '1,2000': '2000' is not a whole number"),
        (lambda: trtzoo.bench(cuda_graph="maybe"), r"^--cuda-graph 'maybe': choose on, off or both\.$"),
        (lambda: trtzoo.build("dpn68", onnx="x.onnx"), r"^Give either model names or --onnx FILE, not both\.$"),
        (lambda: trtzoo.evaluate("dpn68", onnx="x.onnx", data="x"), r"^Give either model names or --onnx FILE, not both\.$"),
        (lambda: trtzoo.parity("dpn68", precision="fp3"), r"^There is no precision 'fp3'\."),
        (lambda: trtzoo.verdict("dpn68", precision=["fp16", "fp32"]), r"^fp32 is what the others are compared with\."),
        (lambda: trtzoo.verdict("dpn68", runs=1), r"^--runs 1: a verdict needs at least 2 runs of each file"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()


def test_every_option_of_a_command_is_an_argument_of_its_function_with_the_same_default():
    from trtzoo.cli import checking, judging, making, measuring

    commands = (making.export, making.build, measuring.bench, checking.evaluate, checking.parity, judging.verdict)
    own = {"every", "print_trtexec", "layers", "form", "data", "batch", "gate"}
    for command, name in zip(commands, FUNCTIONS, strict=False):
        parameters = inspect.signature(getattr(trtzoo, name)).parameters
        for option in inspect.signature(command).parameters.values():
            if option.name not in own:
                assert str(option.default) == str(parameters[option.name].default), (name, option.name)


# --- results as a frame ---


def test_a_frame_has_one_row_per_case_with_times_in_seconds(here, exported, monkeypatch):
    (here / "onnx").symlink_to(exported)
    (made,) = trtzoo.bench("dpn68", gpu="cpu", batch=1, runtime="onnxruntime", seconds=0)
    case = replace(made.case, model="dpn92")
    failed = replace(made, case=case, identity=None, samples=(), failure=Failure(kind="error", reason="it failed"))
    write_record(Path("benchmarks") / case.device / "failed.json", failed)
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))  # a frame is made of a list of rows
    good, failed = trtzoo.read_results().to_pandas()
    assert (good["model"], good["precision"], good["batch"], good["runtime"]) == ("dpn68", "fp32", 1, "onnxruntime")
    assert (good["device"], good["weights"], good["failure"]) == (cpu_device().name, "seeded", None)
    assert 0 < good["minimum"] <= good["median"] <= good["p99"] < 10 and good["count"] >= 10
    assert failed["model"] == "dpn92" and failed["failure"] and "latency" not in failed


def test_without_pandas_the_frame_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MachineError, match=r"Run: pip install pandas$"):
        trtzoo.read_results("nowhere").to_pandas()


def test_skipped_files_are_among_the_complaints(here):
    (here / "benchmarks" / "a").mkdir(parents=True)
    (here / "benchmarks" / "a" / "cut.json").write_text("{")
    found = trtzoo.read_results()
    assert len(found) == 0
    assert found.complaints[0].startswith("benchmarks/a/cut.json is damaged")
