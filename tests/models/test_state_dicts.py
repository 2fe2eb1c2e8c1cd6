"""Checkpoints as people have them: wrapped, prefixed, with moving averages and trainers' objects. No code of theirs runs."""

from __future__ import annotations

import argparse
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from msgspec.structs import replace

from trtzoo.core.errors import UsageError, WeightsError
from trtzoo.models.seeded import seed
from trtzoo.models.sources import SUFFIXES, locate
from trtzoo.models.state_dicts import AVERAGES, ENTRIES
from trtzoo.models.table import Model, build_network
from trtzoo.models.weights import infer_classes, load

TINY = Model("mine", "densenet", {"growth_rate": 8, "blocks": [1, 1], "stem": 8})
STATE = seed(build_network(TINY, classes=7, device="meta")).state_dict()
OTHER = {key: torch.zeros_like(value) for key, value in STATE.items()}


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    log = logging.getLogger("trtzoo")
    log.propagate, before = True, log.level
    log.setLevel(logging.INFO)
    yield caplog
    log.setLevel(before)


def prefixed(prefix: str, state: dict[str, Any] = STATE) -> dict[str, Any]:
    return {prefix + key: value for key, value in state.items()}


def loads(path: Path, content: Any, *, entry: str = "") -> bool:
    """Whether the checkpoint gives the weights STATE."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    network, _ = load(TINY, locate(TINY, str(path), entry=entry), classes=7)
    return all(torch.equal(value, STATE[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_usual_entries_have_the_weights(entry: str, tmp_path: Path) -> None:
    assert loads(tmp_path / "w.pth", {"epoch": 3, entry: STATE, "optimizer": {"state": {}, "param_groups": []}})


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".pdparams"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.", "model.net."]
)
def test_prefixes_of_wrappers_are_stripped_and_told(prefix: str, suffix: str, tmp_path: Path, heard: Any) -> None:
    assert loads(tmp_path / f"w{suffix}", prefixed(prefix))
    told = [record.getMessage() for record in heard.records]
    steps = [f"{step}." for step in prefix.split(".")[:-1]]
    assert told == [f"{tmp_path / f'w{suffix}'}: trtzoo strips {step!r}" for step in steps]


@pytest.mark.parametrize("entry", AVERAGES)
def test_moving_averages_come_first_and_the_other_can_be_chosen(entry: str, tmp_path: Path, heard: Any) -> None:
    path = tmp_path / "w.pth"
    assert loads(path, {"state_dict": OTHER, entry: prefixed("module.")})
    assert heard.records[0].getMessage() == f"{path}: trtzoo takes the entry {entry}, not state_dict (to choose: --entry NAME)"
    assert loads(path, {"state_dict": STATE, entry: OTHER}, entry="state_dict")
    assert not loads(path, {"state_dict": STATE, entry: OTHER})


def test_the_record_keeps_the_chosen_entry(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "ema": OTHER}, tmp_path / "w.pth")
    checkpoint = locate(TINY, str(tmp_path / "w.pth"), entry="state_dict")
    assert load(TINY, checkpoint, classes=7)[1].entry == "state_dict"


def test_an_entry_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(UsageError) as caught:
        loads(path, {"state_dict": STATE, "ema": OTHER}, entry="teacher")
    assert str(caught.value) == f"{path} has no entry 'teacher' with weights; it has ema, state_dict."


def test_a_lightning_checkpoint_is_read_without_its_objects(tmp_path: Path, heard: Any, monkeypatch: Any) -> None:
    """Its settings are objects of packages that are not installed here; the weights of its loss are left out."""
    packages = {}
    for name in ("omegaconf", "pytorch_lightning"):
        packages[name] = types.ModuleType(name)
        kind = type(
            "Settings",
            (),
            {"__module__": name, "__reduce__": lambda self: (type(self), (), {"lr": 1, "items": [self.__dict__]})},
        )
        packages[name].Settings = kind  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, packages[name])
    content = {
        "epoch": 9,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed("model.") | {"loss.weight": torch.ones(3), "metric.total": torch.tensor(1)},
        "hyper_parameters": packages["omegaconf"].Settings(),
        "args": argparse.Namespace(lr=0.1, data=Path("/data")),
        "callbacks": {"checkpoint": packages["pytorch_lightning"].Settings()},
    }
    path = tmp_path / "last.ckpt"
    assert loads(path, content)
    assert heard.records[-1].getMessage() == f"{path}: trtzoo strips 'model.', leaves out 2 others, such as 'loss.weight'"


def test_objects_of_other_packages_are_refused_and_not_made(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "touched",))

    with pytest.raises(WeightsError, match=r"holds more than tensors .*None of its code was run"):
        loads(tmp_path / "w.ckpt", {"state_dict": STATE, "callbacks": Bad()})
    assert not (tmp_path / "touched").exists()


def test_a_whole_module_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(argparse.Namespace(model=STATE), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"Save only the state dict: torch\.save\(network\.state_dict\(\), FILE\)\.$"):
        load(TINY, locate(TINY, str(tmp_path / "w.pt")), classes=7)


def test_a_file_that_contains_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"epoch": 1}
    content["model"] = content
    with pytest.raises(WeightsError, match="is not a state dict"):
        loads(tmp_path / "w.pth", content)


@pytest.mark.parametrize("content", [STATE, prefixed("module."), {"ema": prefixed("model.")}])
def test_classes_are_those_of_the_classifier(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert infer_classes(TINY, locate(TINY, str(tmp_path / "w.pth"))) == 7


def test_classes_of_no_file_and_of_another_network_are_unknown(tmp_path: Path) -> None:
    torch.save({"head.weight": torch.ones(3, 4)}, tmp_path / "w.pth")
    own = locate(TINY, str(tmp_path / "w.pth"))
    assert infer_classes(TINY, own) is None
    assert infer_classes(TINY, replace(own, source="seeded", path=None)) is None
