"""SOURCES: where weights come from, and the conventions that come with them. No framework is imported here."""

from pathlib import Path

import msgspec

from trtzoo.core.errors import UnreachableError, UsageError, WeightsError, unknown
from trtzoo.core.modules import resolve
from trtzoo.core.records import Preprocessing
from trtzoo.models.table import Model

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Publisher(msgspec.Struct, frozen=True):
    """A publisher of checkpoints. `files` maps a model to (file name, leading hex digits of its sha256 if published)."""

    name: str
    base: str
    files: dict[str, tuple[str, str]]
    epsilon: float
    preprocessing: Preprocessing


PUBLISHERS: dict[str, Publisher] = {
    row.name: row
    for row in (
        # PaddleClas: the only publisher of all ten. ppcls/arch/backbone/model_zoo/{densenet,dpn}.py, MODEL_URLS.
        Publisher(
            name="paddle",
            base="https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/",
            files={
                name: (f"{stem}_pretrained.pdparams", "")
                for name, stem in {
                    **{f"densenet{depth}": f"DenseNet{depth}" for depth in (121, 161, 169, 201, 264)},
                    **{f"dpn{depth}": f"DPN{depth}" for depth in (68, 92, 98, 107, 131)},
                }.items()
            },
            epsilon=1e-5,
            preprocessing=Preprocessing(decoder="opencv", interpolation="bilinear", resize=256, crop=224, **_IMAGENET),
        ),
        # torchvision/models/densenet.py, DenseNet*_Weights.IMAGENET1K_V1.
        Publisher(
            name="torchvision",
            base="https://download.pytorch.org/models/",
            files={
                "densenet121": ("densenet121-a639ec97.pth", "a639ec97"),
                "densenet161": ("densenet161-8d451a50.pth", "8d451a50"),
                "densenet169": ("densenet169-b2777c0a.pth", "b2777c0a"),
                "densenet201": ("densenet201-c1103571.pth", "c1103571"),
            },
            epsilon=1e-5,
            preprocessing=Preprocessing(decoder="pil", interpolation="bilinear", resize=256, crop=224, **_IMAGENET),
        ),
        # timm/models/dpn.py: the authors' MXNet weights (mx_in1k); 92 and 107 were pre-trained on 5,000 more classes.
        Publisher(
            name="timm",
            base="https://github.com/rwightman/pytorch-dpn-pretrained/releases/download/v0.1/",
            files={
                "dpn68": ("dpn68-66bebafa7.pth", "66bebafa7"),
                "dpn92": ("dpn92_extra-b040e4a9b.pth", "b040e4a9b"),
                "dpn98": ("dpn98-5b90dec4d.pth", "5b90dec4d"),
                "dpn107": ("dpn107_extra-1ac7121e2.pth", "1ac7121e2"),
                "dpn131": ("dpn131-71dfe43e0.pth", "71dfe43e0"),
            },
            epsilon=1e-3,
            preprocessing=Preprocessing(
                decoder="pil",
                interpolation="bicubic",
                resize=256,
                crop=224,
                mean=(124 / 255, 117 / 255, 104 / 255),
                std=(1 / (0.0167 * 255),) * 3,
            ),
        ),
    )
}

SUFFIXES = (".pdparams", ".pth", ".pt", ".safetensors")
SEEDED = "seeded"


class Checkpoint(msgspec.Struct, frozen=True):
    """Weights found, not yet read: `path` is None for seeded ones. `fallback` says why the default was not to be had."""

    source: str
    path: Path | None = None
    origin: str = ""
    fallback: str = ""

    @property
    def publisher(self) -> Publisher:
        """Epsilon and preprocessing; seeded weights take PaddleClas'."""
        return PUBLISHERS.get(self.source, PUBLISHERS["paddle"])

    def preprocessing(self, size: int) -> Preprocessing:
        """The convention's, for images of `size`: at its own size as published.

        At any other, published weights keep the share that is cropped; a file of one's own was trained at that size, and its
        images are taken whole.
        """
        how = self.publisher.preprocessing
        published = self.path is None or "://" in self.origin
        resize = round(how.resize * size / how.crop) if published or size == how.crop else size
        return msgspec.structs.replace(how, resize=resize, crop=size)


def locate(model: Model, choice: str | None) -> Checkpoint:
    """The checkpoint that `choice` names for `model`: a source, a file, or None for the default.

    Downloads it where it is not in the cache. The default is PaddleClas', and seeded weights where it cannot be reached.
    Raises UsageError for a choice that is neither a source nor a file, WeightsError for one that cannot be had.
    """
    if choice == SEEDED:
        return Checkpoint(SEEDED, origin=SEEDED)
    if choice is None:
        try:
            return _published(PUBLISHERS["paddle"], model)
        except UnreachableError as error:
            return Checkpoint(SEEDED, origin=SEEDED, fallback=str(error))
    if choice in PUBLISHERS:
        return _published(PUBLISHERS[choice], model)
    path = Path(choice)
    if path.suffix not in SUFFIXES:
        raise unknown("weights source or checkpoint file", choice, [*PUBLISHERS, SEEDED, *(f"FILE{s}" for s in SUFFIXES)])
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.")
    return Checkpoint(_convention_of(path, model), path, path.name)


def _published(source: Publisher, model: Model) -> Checkpoint:
    if model.name not in source.files:
        raise UsageError(f"{source.name} publishes no weights of {model.name}; it has {', '.join(source.files)}.")
    name, digits = source.files[model.name]
    url = source.base + name
    path: Path = resolve("trtzoo.models.download:fetch")(url, sha256_prefix=digits)
    return Checkpoint(source.name, path, url)


def _convention_of(path: Path, model: Model) -> str:
    """A local file follows the publisher whose format and names it has."""
    if path.suffix == ".pdparams":
        return "paddle"
    return "torchvision" if model.family == "densenet" else "timm"
