"""GPUS and FLAVOURS: which GPU is which, and which TensorRT builds for it. A GPU is a table of gpus.toml."""

import re
from importlib.resources import files
from typing import Any

import msgspec

from trtzoo.core.errors import MachineError, find_row, unknown


class Flavour(msgspec.Struct, frozen=True):
    """A variant of TensorRT. `install` is the pip requirement that installs `module`."""

    name: str
    title: str
    module: str
    install: str


class Card(msgspec.Struct, frozen=True):
    """A GPU as its driver names it, with its peaks from the maker's document `source`; None: none, or not published.

    `fp32` is outside tensor cores, `tf32` and `fp16` on them, dense, FLOP/s; memory `bandwidth` is in bytes/s.
    """

    name: str
    fp32: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    bandwidth: float | None = None
    source: str = ""


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target, and the cards sold under its name.

    TensorRT `oldest` to `newest` build for it (`newest` empty: still supported). `not_rtx` says why TensorRT-RTX cannot
    (empty: it can), `unsupported` why trtzoo builds nothing for it (empty: it does).
    """

    name: str
    title: str
    sm: int
    cards: tuple[Card, ...]
    oldest: str = "8.6"
    newest: str = ""
    not_rtx: str = ""
    unsupported: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that drivers report."""
        return tuple(card.name for card in self.cards)


SIZES = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 72, 80, 94, 96, 141, 180, 192, 288)
"""Memories that cards are sold with, in GB."""

FLAVOURS: dict[str, Flavour] = {
    row.name: row
    for row in (
        Flavour("tensorrt", "TensorRT", module="tensorrt", install="tensorrt-cu12"),
        Flavour("rtx", "TensorRT-RTX", module="tensorrt_rtx", install="tensorrt-rtx-cu12"),
    )
}


def _gpu(name: str, row: dict[str, Any]) -> Gpu:
    """A table of gpus.toml, whose first lines explain the fields."""
    source = row.pop("source")
    row["cards"] = tuple(
        Card(card, fp32 * 1e12 or None, tf32 * 1e12 or None, fp16 * 1e12 or None, bandwidth * 1e9 or None, source)
        for card, (fp32, tf32, fp16, bandwidth) in row["cards"].items()
    )
    return msgspec.convert({"name": name, **row}, Gpu)


_TABLES = msgspec.toml.decode((files("trtzoo.hardware") / "gpus.toml").read_bytes())
GPUS = {name: _gpu(name, table) for name, table in _TABLES.items()}


def find_card(name: str) -> Card | None:
    """The card with this driver name; None if it has no row."""
    return next((card for row in GPUS.values() for card in row.cards if card.name == name), None)


def card_title(name: str, memory: int) -> str:
    """A card by its driver's name and its memory in bytes: "NVIDIA GeForce RTX 3080, 10 GB".

    The memory is the size that is sold. Drivers report up to a tenth less, which changes with the driver and with ECC.
    """
    found = memory / 2**30
    return f"{name}, {next((size for size in SIZES if size >= found), round(found))} GB"


def find_gpu(name: str) -> Gpu:
    """The GPU called `name`, in any spelling: "T4", "RTX 4090". Raises UsageError if there is none."""
    if row := GPUS.get(re.sub(r"[\s_-]", "", name.lower())):
        return row
    raise unknown("GPU", name, GPUS)


def find_flavour(name: str) -> Flavour:
    """The flavour called `name`. Raises UsageError if there is none."""
    return find_row("flavour", name, FLAVOURS)


def identify_gpu(name: str, sm: int) -> Gpu:
    """The row of the GPU with this driver name; a new one, without peaks, for a GPU that has no row."""
    for row in GPUS.values():
        if name in row.names:
            return row
    key = re.sub(r"[^a-z0-9]+", "", re.sub(r"nvidia|geforce|tesla", "", name.lower()))
    blocked = sm < 75 or 90 <= sm < 120
    not_rtx = f"TensorRT-RTX has no SM{sm}" if blocked else ""
    return Gpu(key, name, sm, (Card(name),), newest="10.4" if sm < 75 else "", not_rtx=not_rtx)


def check_supported(gpu: Gpu) -> None:
    """Raise MachineError for a GPU that trtzoo builds nothing for, with the reason."""
    if gpu.unsupported:
        raise MachineError(f"{gpu.title} (SM{gpu.sm}) is not supported: {gpu.unsupported}.")


def check_target(gpu: Gpu, flavour: Flavour, version: str) -> None:
    """Raise MachineError if this version of this flavour cannot build for `gpu`; it says what to install."""
    check_supported(gpu)
    here, problem, remedy = version_numbers(version)[:2], "", f"pip install '{requirement(gpu)}'"
    if flavour.name == "rtx" and gpu.not_rtx:
        raise MachineError(
            f"TensorRT-RTX {version} cannot build for {gpu.title} (SM{gpu.sm}): {gpu.not_rtx}. "
            f"TensorRT can, on a machine with that GPU: {remedy}"
        )
    if gpu.newest and here > version_numbers(gpu.newest):
        problem = f"{gpu.newest} was the last that does"
    elif here < version_numbers(gpu.oldest):
        problem = f"{gpu.oldest} is the first that does"
    if problem and flavour.name == "tensorrt":
        raise MachineError(f"TensorRT {version} does not build for {gpu.title} (SM{gpu.sm}): {problem}. Run: {remedy}")


def requirement(gpu: Gpu) -> str:
    """The pip requirement of a TensorRT that builds for `gpu`: "tensorrt-cu12==10.4.*"."""
    install = FLAVOURS["tensorrt"].install
    if gpu.newest:
        return f"{install}=={gpu.newest}.*"
    return install if gpu.oldest == "8.6" else f"{install}>={gpu.oldest}"


def version_numbers(version: str) -> tuple[int, ...]:
    """A version's leading numbers: "10.13.2.6.post1" gives (10, 13, 2, 6)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
