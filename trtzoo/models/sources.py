"""Where weights come from, and the conventions that belong to them. No framework is imported here."""

from importlib.resources import files
from pathlib import Path

import msgspec

from trtzoo.core.errors import UnreachableError, UsageError, WeightsError, unknown
from trtzoo.core.records import Preprocessing
from trtzoo.models.table import MODELS, Model


class Publisher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of publishers.toml, whose first lines explain the fields."""

    base: str
    files: dict[str, tuple[str, str]]
    epsilon: float
    preprocessing: Preprocessing


PUBLISHERS = msgspec.toml.decode((files("trtzoo.models") / "publishers.toml").read_bytes(), type=dict[str, Publisher])

SUFFIXES = (".pdparams", ".pth", ".pt", ".safetensors")
SEEDED, FILE = "seeded", "file"


class Checkpoint(msgspec.Struct, frozen=True):
    """Weights that were found but not yet read. `path` is None for seeded ones; `fallback` is why the default was unavailable.

    `source` is a publisher, "seeded", or "file" for the user's own; `origin` is the URL, the name of that file, or "seeded".
    `format` is the publisher whose names of parameters the user's file has. `own` preprocessing and epsilon are the user's.
    """

    source: str
    path: Path | None = None
    origin: str = ""
    fallback: str = ""
    format: str = ""
    own: Preprocessing | None = None
    own_epsilon: float | None = None

    @property
    def publisher(self) -> Publisher:
        """The publisher whose epsilon and preprocessing apply, or the user's own. Seeded weights use PaddleClas'."""
        row = PUBLISHERS.get(self.format or self.source, PUBLISHERS["paddle"])
        if self.own is None:
            return row
        epsilon = row.epsilon if self.own_epsilon is None else self.own_epsilon
        return msgspec.structs.replace(row, epsilon=epsilon, preprocessing=self.own)

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


def locate(model: Model, choice: str | None) -> Checkpoint:
    """The checkpoint of `model` from a source, from a file, or by default, downloaded if it is not in the cache.

    The default is its row's, or PaddleClas', or seeded weights if that server cannot be reached. Raises UsageError if `choice`
    is neither a source nor a file, WeightsError if the checkpoint is unavailable.
    """
    choice = (model.weights or None) if choice is None else choice
    if choice == SEEDED:
        return Checkpoint(SEEDED, origin=SEEDED)
    if choice is None:
        try:
            return _download("paddle", model)
        except UnreachableError as error:
            return Checkpoint(SEEDED, origin=SEEDED, fallback=str(error))
    if choice in PUBLISHERS:
        return _download(choice, model)
    path = Path(choice)
    if path.suffix not in SUFFIXES:
        raise unknown("weights source or checkpoint file", choice, [*PUBLISHERS, SEEDED, *(f"FILE{s}" for s in SUFFIXES)])
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.")
    return own_checkpoint(model, path)


def own_checkpoint(model: Model, path: Path) -> Checkpoint:
    """The user's own checkpoint of `model`, which has the names of the publisher whose format it has."""
    names = "paddle" if path.suffix == ".pdparams" else {"densenet": "torchvision", "dpn": "timm"}[model.family]
    return Checkpoint(FILE, path, path.name, format=names)


def _download(source: str, model: Model) -> Checkpoint:
    from trtzoo.models.download import fetch

    publisher = PUBLISHERS[source]
    if model.network not in publisher.files:
        hint = "" if model.name in MODELS else " Choose: --weights seeded or --weights FILE"
        raise UsageError(f"{source} publishes no weights of {model.network}; it has {', '.join(publisher.files)}.{hint}")
    name, digits = publisher.files[model.network]
    url = publisher.base + name

    def check(path: Path) -> None:
        from trtzoo.models.weights import load

        try:
            load(model, Checkpoint(source, path, url))
        except WeightsError as error:
            reason = str(error).replace(str(path), "it")
            raise WeightsError(
                f"{url} returned a file that is no checkpoint of {model.name}: {reason} It was deleted."
            ) from error

    return Checkpoint(source, fetch(url, sha256_prefix=digits, check=check), url)
