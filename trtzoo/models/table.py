"""The zoo: a TOML file with one table for each network. MODELS is the one that ships, `zoo()` the one in use.

No framework is imported until a network is built.
"""

import hashlib
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from trtzoo.core.decoding import UnreadableError, convert, decode_toml, read_file
from trtzoo.core.errors import UsageError, find_row, unknown
from trtzoo.core.modules import resolve
from trtzoo.core.records import is_plain

if TYPE_CHECKING:
    from torch import nn


FAMILIES = {"densenet": "trtzoo.models.densenet:DenseNet", "dpn": "trtzoo.models.dpn:DPN"}
TIMM_NETWORKS = "trtzoo.models.timm_networks:create"
TIMM, FILE = "timm", "onnx"  #: The families of timm's architectures and of ONNX files, which have a key of their own in a zoo.
VARIABLE = "TRTZOO_ZOO"  #: The environment variable that names the zoo in use; child processes inherit it.
MAX_ZOO, MAX_ROWS = 1 << 20, 1000  # bytes and tables of a zoo

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,79}\Z")]
Architecture = Annotated[str, Meta(pattern=r"^\w[\w.]{0,79}\Z")]  # timm would take "hf-hub:..." for a download
Word = Annotated[str, Meta(pattern=r"^[a-z]\w{0,39}\Z")]
Size = Annotated[int, Meta(ge=0, le=1 << 16)]
Argument = Size | Annotated[list[Size], Meta(max_length=16)]


class Model(msgspec.Struct, frozen=True):
    """A network: a table of a zoo, whose first lines explain the fields. `params` and `macs` are 0 if nobody counted them.

    `family` is "timm" for an architecture of timm, whose name is the argument `name`, and "onnx" for a file, which is `file`.
    """

    name: str
    family: str
    arguments: dict[str, Any] = {}
    params: int = 0
    macs: int = 0
    weights: str = ""
    file: Path | None = None

    @property
    def flops(self) -> int:
        """2 x multiply-accumulates of convolutions and the classifier, one image."""
        return 2 * self.macs

    @property
    def stem(self) -> str:
        """The name in the names of files: "resnet18" of "timm:resnet18"."""
        return self.name.removeprefix(f"{TIMM}:")

    @property
    def network(self) -> str:
        """What artifacts and results call it: Identity.network. Only the networks that ship have their bare names."""
        shipped = MODELS.get(self.name)
        if self.family == FILE:
            return ""
        if self.family == TIMM:
            return f"{TIMM}:{self.arguments['name']}"
        if shipped and (shipped.family, shipped.arguments) == (self.family, self.arguments):
            return self.name
        content = msgspec.json.encode([self.family, sorted(self.arguments.items())])
        return f"{self.name}@{hashlib.sha256(content).hexdigest()[:8]}"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a zoo as it is written."""

    family: str = ""
    arguments: dict[Word, Argument] = {}
    timm: Architecture | None = None
    onnx: str | None = None
    weights: str = ""
    params: Annotated[int, Meta(ge=0, le=10**13)] = 0
    macs: Annotated[int, Meta(ge=0, le=10**15)] = 0

    def model(self, name: str, folder: Path) -> Model:
        """The network called `name`; paths are relative to `folder`. Raises UnreadableError if the fields do not fit."""
        kinds = {"family": self.family, "timm": self.timm, "onnx": self.onnx}
        given = [kind for kind, value in kinds.items() if value]
        if len(given) != 1:
            raise UnreadableError(f"it has {' and '.join(given) or 'none'} of family, timm and onnx, and needs one")
        if self.arguments and not self.family:
            raise UnreadableError(f"arguments are for a family, and {given[0]} takes none")
        if self.weights and self.onnx:
            raise UnreadableError("an ONNX file has its weights")
        if self.family and self.family not in FAMILIES:
            raise UnreadableError(str(unknown("family", self.family, FAMILIES)).removesuffix("."))
        arguments = {"name": self.timm} if self.timm else self.arguments
        family = self.family or (TIMM if self.timm else FILE)
        weights = self.weights if re.fullmatch(r"\w*", self.weights) else str(_inside(folder, self.weights))
        file = _inside(folder, self.onnx) if self.onnx else None
        return Model(name, family, arguments, self.params, self.macs, weights, file)


class Count(msgspec.Struct, frozen=True):
    """Parameters and FLOPs of one image, by some convention."""

    params: int
    flops: int


Rows: Any = Annotated[dict[Name, Row], Meta(min_length=1, max_length=MAX_ROWS)]


def _inside(folder: Path, path: str) -> Path:
    """A file in the zoo's folder or below it. Raises UnreadableError for another path."""
    parts = PurePosixPath(path).parts
    if not parts or not all(map(is_plain, parts)):
        raise UnreadableError(f"{path!r} is not the path of a file in the folder of the zoo")
    return folder.joinpath(*parts)


def _rows(data: bytes, folder: Path) -> dict[str, Model]:
    models = {}
    for name, row in convert(decode_toml(data), Rows).items():
        try:
            models[name] = row.model(name, folder)
        except UnreadableError as error:
            raise UnreadableError(f"{error} - at `$[{name}]`") from error
    return models


MODELS = _rows((files("trtzoo.models") / "zoo.toml").read_bytes(), Path())


@cache
def _read_zoo(path: Path) -> dict[str, Model]:
    """The networks of a zoo's file. Raises UsageError if it cannot be read, or is none."""
    try:
        return _rows(read_file(path, MAX_ZOO), path.absolute().parent)
    except OSError as error:
        raise UsageError(f"The zoo {path} cannot be read: {error.strerror or error}.") from error
    except UnreadableError as error:
        raise UsageError(f"{path} is not a zoo: {error}.") from error


def zoo() -> dict[str, Model]:
    """The networks in use, by name: those of the file that TRTZOO_ZOO names, or MODELS. Raises UsageError as `use_zoo` does."""
    path = os.environ.get(VARIABLE)
    return _read_zoo(Path(path)) if path else MODELS


def use_zoo(path: "str | os.PathLike[str]") -> dict[str, Model]:
    """Use the networks of this file, here and in child processes. Raises UsageError if it cannot be read, or is no zoo."""
    file = Path(path).absolute()
    _read_zoo.cache_clear()
    models = _read_zoo(file)
    os.environ[VARIABLE] = str(file)
    return models


def find_model(name: str) -> Model:
    """The row of the zoo called `name`, in any case, or a row for "timm:resnet18", which every zoo has.

    Raises UsageError, with the nearest name, if there is none. That timm has the architecture is not checked here.
    """
    family, _, architecture = name.partition(":")
    if family.lower() == TIMM and re.fullmatch(r"\w[\w.]{0,79}", architecture):
        return Model(f"{TIMM}:{architecture}", TIMM, {"name": architecture})
    return find_row("model", name, zoo())


def find_network(network: str) -> Model:
    """The network that artifacts call so: `Model.network`. Raises UsageError if it is of another zoo."""
    known = MODELS | {model.network: model for model in zoo().values()}
    if row := known.get(network):
        return row
    if network.startswith(f"{TIMM}:"):
        return find_model(network)
    raise UsageError(f"The network {network} is not in this zoo, {', '.join(zoo())}. Say which has it: trtzoo --zoo FILE")


def build_network(
    model: Model, *, classes: int = 1000, epsilon: float | None = None, size: int | None = None, device: str = "cpu"
) -> "nn.Module":
    """The row's network in eval mode, for float32 images (N, 3, H, W); it returns logits (N, classes).

    Parameters are uninitialised if `device` is "meta". `epsilon` is batch normalisation's, which belongs to the weights; None
    is the network's own. Some of timm's networks are made for one `size` of images. Raises UsageError if the row is no network
    of its family.
    """
    import torch

    if model.family == TIMM:  # on no other device: it computes tensors that are neither parameters nor in checkpoints
        made: nn.Module = resolve(TIMM_NETWORKS)(**model.arguments, classes=classes, epsilon=epsilon, size=size)
        return made
    opener = find_row("family of networks that can be built", model.family, FAMILIES)
    own = {} if epsilon is None else {"epsilon": epsilon}
    try:
        with torch.device(device):
            network: nn.Module = resolve(opener)(**model.arguments, classes=classes, **own)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise UsageError(f"The arguments of {model.name} make no {model.family}: {error}.") from error
    return network.eval()
