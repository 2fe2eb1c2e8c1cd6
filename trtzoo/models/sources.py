"""Where weights come from, and the conventions that belong to them. No framework is imported here."""

from importlib.resources import files
from pathlib import Path

import msgspec

from trtzoo.core.errors import UnreachableError, UsageError, WeightsError, unknown
from trtzoo.core.records import Preprocessing
from trtzoo.models.table import MODELS, TIMM, Model


class Publisher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of publishers.toml, whose first lines explain the fields."""

    base: str
    files: dict[str, tuple[str, str]]
    epsilon: float
    preprocessing: Preprocessing


PUBLISHERS = msgspec.toml.decode((files("trtzoo.models") / "publishers.toml").read_bytes(), type=dict[str, Publisher])

SUFFIXES = (".pdparams", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors")
SEEDED, FILE = "seeded", "file"


class Checkpoint(msgspec.Struct, frozen=True):
    """Weights that were found but not yet read. `path` is None for seeded ones; `fallback` is why the default was unavailable.

    `source` is a publisher, "seeded", or "file" for the user's own; `origin` is the URL, the name of that file, or "seeded".
    `format` is the publisher whose names of parameters the user's file has, `entry` the part of the file with the weights, if
    the user chose it. `own` preprocessing and epsilon are the user's. `architecture` is timm's: its configuration has the
    preprocessing.
    """

    source: str
    path: Path | None = None
    origin: str = ""
    fallback: str = ""
    format: str = ""
    own: Preprocessing | None = None
    own_epsilon: float | None = None
    entry: str = ""
    architecture: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is the user's own file."""
        return self.source == FILE

    @property
    def epsilon(self) -> float | None:
        """The epsilon of batch normalisation; None: an architecture of timm has its own."""
        return self.own_epsilon if self.architecture else self.publisher.epsilon

    @property
    def publisher(self) -> Publisher:
        """The publisher whose epsilon and preprocessing apply, or the user's own. Seeded weights use PaddleClas', or timm's."""
        row = PUBLISHERS.get(self.format or self.source, PUBLISHERS["paddle"])
        if self.own is not None:
            epsilon = row.epsilon if self.own_epsilon is None else self.own_epsilon
            return msgspec.structs.replace(row, epsilon=epsilon, preprocessing=self.own)
        if not self.architecture:
            return row
        from trtzoo.models.timm_networks import preprocessing

        return Publisher(base="", files={}, epsilon=0, preprocessing=preprocessing(self.architecture))

    def preprocessing(self, size: int) -> Preprocessing:
        """The publisher's preprocessing, for images of `size` pixels.

        At another size than the publisher's, published weights keep the fraction of the image that is cropped. The user's
        own weights were trained at that size, so they get whole images.
        """
        if self.own:
            return self.own
        published = self.publisher.preprocessing
        keep = self.path is None or "://" in self.origin or size == published.crop
        resize = round(published.resize * size / published.crop) if keep else size
        return msgspec.structs.replace(published, resize=resize, crop=size)


def locate(model: Model, choice: str | None, *, entry: str = "") -> Checkpoint:
    """The checkpoint of `model` from a source, from a file, or by default, downloaded if it is not in the cache.

    The default is its row's, or timm's for its architectures and PaddleClas' for others, or seeded weights if that server
    cannot be reached. `entry` is the part of a file that has the weights. Raises UsageError if `choice` is neither a source nor
    a file, WeightsError if the checkpoint is unavailable.
    """
    choice = (model.weights or None) if choice is None else choice
    architecture = model.arguments["name"] if model.family == TIMM else ""
    seeded = Checkpoint(SEEDED, origin=SEEDED, architecture=architecture)
    if choice == SEEDED:
        return seeded
    if choice is None:
        try:
            return _published(model, "timm" if architecture else "paddle")
        except UnreachableError as error:
            return msgspec.structs.replace(seeded, fallback=str(error))
    if choice in PUBLISHERS:
        return _published(model, choice)
    path = Path(choice)
    if path.suffix not in SUFFIXES:
        raise unknown("weights source or checkpoint file", choice, [*PUBLISHERS, SEEDED, *(f"FILE{s}" for s in SUFFIXES)])
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.")
    return own_checkpoint(model, path, entry=entry)


def own_checkpoint(model: Model, path: Path, *, entry: str = "") -> Checkpoint:
    """The user's own checkpoint of `model`, which has the names of the publisher whose format it has."""
    if model.family == TIMM:
        return Checkpoint(FILE, path, path.name, entry=entry, architecture=model.arguments["name"])
    names = "paddle" if path.suffix == ".pdparams" else {"densenet": "torchvision", "dpn": "timm"}[model.family]
    return Checkpoint(FILE, path, path.name, format=names, entry=entry)


def _published(model: Model, source: str) -> Checkpoint:
    if model.family == TIMM and source == TIMM:
        from trtzoo.models.timm_networks import address

        architecture = model.arguments["name"]
        url, name = address(architecture)
        return _download(model, Checkpoint(source, origin=url, architecture=architecture), name=name)
    publisher = PUBLISHERS[source]
    if model.network not in publisher.files:
        hint = "" if model.name in MODELS else " Choose: --weights seeded or --weights FILE"
        raise UsageError(f"{source} publishes no weights of {model.network}; it has {', '.join(publisher.files)}.{hint}")
    name, digits = publisher.files[model.network]
    return _download(model, Checkpoint(source, origin=publisher.base + name), digits=digits)


def _download(model: Model, wanted: Checkpoint, *, digits: str = "", name: str = "") -> Checkpoint:
    """The checkpoint at the address `origin`, with its file in the cache, called `name` if not as in the address."""
    from trtzoo.models.download import fetch

    url = wanted.origin

    def check(path: Path) -> None:
        from trtzoo.models.weights import load

        size, classes = usual(model)
        try:
            load(model, msgspec.structs.replace(wanted, path=path), classes=classes, size=size)
        except WeightsError as error:
            reason = str(error).replace(str(path), "it")
            raise WeightsError(
                f"{url} returned a file that is no checkpoint of {model.name}: {reason} It was deleted."
            ) from error

    return msgspec.structs.replace(wanted, path=fetch(url, name=name, sha256_prefix=digits, check=check))


def usual(model: Model) -> tuple[int, int]:
    """The height and width of the images, and the classes, that a network has without another choice."""
    if model.family != TIMM:
        return 224, 1000
    from trtzoo.models.timm_networks import usual_classes, usual_size

    architecture = model.arguments["name"]
    return usual_size(architecture), usual_classes(architecture)
