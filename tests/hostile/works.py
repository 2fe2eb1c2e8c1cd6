"""What the campaigns against processes run: seven commands that write, each small, and how to see that all is well."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from tests.classifier import CLASSES, classifier
from tests.hostile.calls import fetch
from tests.hostile.campaigns import HANG
from tests.hostile.mutate import CORPUS
from tests.hostile.processes import Ended, Started
from tests.photographs import class_folders
from trtzoo.accuracy.records import load_evaluations
from trtzoo.artifacts import engines
from trtzoo.artifacts.subjects import open_subject
from trtzoo.core.errors import StoreError
from trtzoo.core.files import STALE, sha256_file
from trtzoo.models import download
from trtzoo.report.results import load_results

BODY = hashlib.shake_256(b"weights").digest(300_000)
GRAPH = "onnx/densenet121-fp32-c5-s8.onnx"


def classified(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    classifier(folder / "onnx")


def measured(folder: Path) -> None:
    for name in ("result-cpu.json", "result-gpu.json"):
        place = folder / "benchmarks" / name.partition(".")[0]
        place.mkdir(parents=True, exist_ok=True)
        (place / "r.json").write_bytes(CORPUS[name])


def labelled(folder: Path) -> None:
    classified(folder)
    class_folders(folder / "data", classes=CLASSES, each=4)


# --- what a reader takes for whole: names and what is in them ---


def graphs(folder: Path) -> dict[str, str]:
    found = {}
    for path in (folder / "onnx").glob("*.onnx"):
        try:
            found[path.name] = open_subject(path, remedy="").sidecar.sha256
        except StoreError:
            continue
        assert sha256_file(path) == found[path.name]
    return found


def plans(folder: Path) -> dict[str, str]:
    found = {}
    for path in (folder / "engines").rglob("*.engine"):
        sidecar = engines.read_sidecar_unchecked(path)
        if sidecar and engines.is_intact(path, sidecar) and engines.has_golden(path, sidecar):
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def results(folder: Path) -> dict[str, str]:
    found, complaints = load_results(folder / "benchmarks")
    assert not complaints, complaints
    return {result.name: "measured" for result in found if not result.failure}


def evaluations(folder: Path) -> dict[str, str]:
    found, complaints = load_evaluations(folder / "benchmarks")
    assert not complaints, complaints
    return {record.name: f"{record.images} {record.top1} {record.top5} {record.bad}" for record in found}


def pages(folder: Path) -> dict[str, str]:
    path = folder / "report.html"
    assert not path.exists() or path.read_bytes().rstrip().endswith(b"</html>")
    return {path.name: "whole"} if path.exists() else {}


def drawings(folder: Path) -> dict[str, str]:
    found = [path for path in (folder / "benchmarks" / "plots").glob("*.*") if path.is_file()]
    for path in found:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        else:
            ElementTree.parse(path)
    return dict.fromkeys(sorted(path.name for path in found), "whole")


def checkpoints(folder: Path) -> dict[str, str]:
    path = folder / "cache" / "weights.example" / "w.pdparams"
    if not download._is_complete(path):
        return {}
    assert path.read_bytes() == BODY
    return {path.name: "whole"}


# --- the commands ---


@dataclass
class Work:
    """A command, what it needs, and what a reader finds after it. `seconds` and `changes` are of its untroubled run."""

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Path], None]
    found: Callable[[Path], dict[str, str]]
    again: tuple[str, ...] = ()
    """Further words of the run after one in trouble."""
    anew: tuple[str, ...] | None = None
    """Further words of a run that makes its files anew, where one with nothing to do writes nothing."""
    call: Callable[[], None] | None = None
    seconds: float = HANG
    changes: dict[str, list[str]] = field(default_factory=dict)
    usual: dict[str, str] = field(default_factory=dict)

    def start(self, folder: Path, *more: str, trouble: dict[str, Any] | None = None) -> Started:
        environment = {"TRTZOO_CACHE": str(folder / "cache")}
        return Started(folder, *self.words, *more, trouble=trouble, call=self.call, **environment)

    def run(self, folder: Path, *more: str, trouble: dict[str, Any] | None = None) -> Ended:
        """Its end, after which none of its children lives."""
        started = self.start(folder, *more, trouble=trouble)
        ended = started.wait(self.seconds)
        assert not started.orphans(), str(ended)
        return ended

    def rehearse(self, folder: Path) -> None:
        """Run it without trouble, and note what it does and makes."""
        if self.usual:
            return
        seconds = 0.0
        for role in ("parent", "child"):
            log = folder.with_name(f"{folder.name}.{role}.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
            trouble = {"do": "count", "roles": [role], "folder": str(folder), "log": str(log)}
            if role == "parent" or self.name in ("build", "download"):
                ended = self.run(self.ready(folder), trouble=trouble)
                assert ended.code == 0, str(ended)
                seconds = max(seconds, ended.seconds)
            self.changes[role] = log.read_text().split()
        self.seconds, self.usual = seconds, self.found(folder)
        assert self.usual and not leftovers(folder)

    def ready(self, folder: Path) -> Path:
        """An empty folder with what the command needs."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.prepare(folder)
        return folder

    def check_partly(self, folder: Path) -> None:
        """Nothing torn is taken for whole, whatever stopped the command."""
        found = self.found(folder)
        assert found.items() <= self.usual.items(), (found, self.usual)

    def check_again(self, folder: Path) -> None:
        """The next run works, and no work folder stays for ever."""
        for path in leftovers(folder):
            os.utime(path, times=(time.time() - 2 * STALE,) * 2)
        done = self.run(folder, *self.again)
        assert done.code == 0, str(done)
        assert self.found(folder) == self.usual, str(done)
        if leftovers(folder) and self.anew is not None:  # it had nothing to write: the next file that is written ends them
            for path in folder.glob("cache/*/*.pdparams"):
                path.unlink()
            done = self.run(folder, *self.anew)
        assert not leftovers(folder), (leftovers(folder), str(done))


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*.tmp-*") if path.is_dir()]


def nothing(folder: Path) -> None:
    """The command needs no file."""


SMALL = ("--classes", "10", "--input-size", "32")
BENCH = ("--gpu", "cpu", "--runtime", "onnxruntime", "--protocol", "trial", "--batch", "1")
WORKS = {
    work.name: work
    for work in (
        Work("export", ("export", "densenet121", "--weights", "seeded", *SMALL), nothing, graphs),
        Work("build", ("build", "--onnx", GRAPH, "--gpu", "t4", "--flavour", "rtx"), classified, plans, anew=("--force",)),
        Work("bench", ("bench", "--onnx", GRAPH, *BENCH), classified, results),
        Work("eval", ("eval", "--onnx", GRAPH, "--data", "data"), labelled, evaluations, ("--resume",), anew=()),
        Work("report", ("report",), measured, pages),
        Work("figures", ("figures",), measured, drawings),
        Work("download", (), nothing, checkpoints, anew=(), call=fetch),
    )
}
