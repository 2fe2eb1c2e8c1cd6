"""The tensors of a checkpoint as people save them: which entry has the weights, and which prefixes their names got."""

import reprlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from trtzoo.core.errors import UsageError, WeightsError

# Entries that hold weights, the first of them first. Moving averages come before what they are averages of, as in timm.
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema")
ENTRIES = (*AVERAGES, "state_dict", "model", "model_state_dict", "module", "network", "net", "weights", "params")
MAX_DEPTH = 8
PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "network.",
    "net.",
    "backbone.",
    "encoder.",
)  # DDP, torch.compile, Lightning, own


class StateDict(msgspec.Struct, frozen=True):
    """Tensors by name, and what was done to find them, in phrases for people."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def find_state(path: Path, content: Any, *, entry: str = "") -> StateDict:
    """The weights in a checkpoint's content: itself, or the wanted entry, or the first usual one, however deep.

    Raises WeightsError if there are none, UsageError if there is no such entry.
    """
    names: list[str] = []
    others: tuple[str, ...] = ()
    while isinstance(content, dict) and len(names) < MAX_DEPTH:
        there = [name for name in ENTRIES if isinstance(content.get(name), dict) and content[name]]
        if entry and not names:
            if not isinstance(content.get(entry), dict):
                raise UsageError(f"{path} has no entry {entry!r} with weights; it has {', '.join(there) or 'none'}.")
            there = [entry]
        if not there:
            break
        names.append(there[0])
        others = others or tuple(there[1:])
        content = content[there[0]]
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a state dict: it holds a {type(content).__name__}.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path} is not a state dict: its entry {reprlib.repr(key)} is not a tensor.")
    notes = [f"takes the entry {'.'.join(names)}"] if names and (entry or others or names[0] in AVERAGES) else []
    notes += [f"not {', '.join(others)} (to choose: --entry NAME)"] if others else []
    return StateDict(dict(content), (", ".join(notes),) if notes else ())


def strip_prefixes(state: StateDict, wanted: Collection[str]) -> StateDict:
    """The tensors without prefixes that the network's names do not have.

    Of a file that holds more than the network, such as a loss with weights, the tensors with the prefix remain.
    """
    tensors, notes = state.tensors, list(state.notes)
    while prefix := next((each for each in PREFIXES if _hides(each, tensors, wanted)), ""):
        inside = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        outside = [key for key in tensors if not key.startswith(prefix) and key not in wanted]
        kept = {key: value for key, value in tensors.items() if key in wanted}
        left = f", leaves out {len(outside)} others, such as {outside[0][:60]!r}" if outside else ""
        notes.append(f"strips {prefix!r}{left}")
        tensors = kept | inside
    return StateDict(tensors, tuple(notes))


def _hides(prefix: str, tensors: Collection[str], wanted: Collection[str]) -> bool:
    """Whether names that the network has, or names with a further prefix, are behind this one."""
    inside = [key.removeprefix(prefix) for key in tensors if key.startswith(prefix)]
    if not inside or any(key.startswith(prefix) for key in wanted):
        return False
    return any(key in wanted for key in inside) or any(key.startswith(PREFIXES) for key in inside)
