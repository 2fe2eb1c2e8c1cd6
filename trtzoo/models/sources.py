"""Where weights come from, and the conventions that belong to them. No framework is imported here."""

from pathlib import Path

import msgspec

from trtzoo.core.errors import UnreachableError, UsageError, WeightsError, unknown
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
        # PaddleClas, the only publisher of all ten: ppcls/arch/backbone/model_zoo/{densenet,dpn}.py, MODEL_URLS.
        Publisher(
            name="paddle",
            base="https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/",
            files={f"densenet{depth}": (f"DenseNet{depth}_pretrained.pdparams", "") for depth in (121, 161, 169, 201, 264)}
            | {f"dpn{depth}": (f"DPN{depth}_pretrained.pdparams", "") for depth in (68, 92, 98, 107, 131)},
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
    """Weights that were found but not yet read. `path` is None for seeded ones; `fallback` is why the default was unavailable.

    `origin` is the URL, the name of the user's file, or "seeded".
    """

    source: str
    path: Path | None = None
    origin: str = ""
    fallback: str = ""

    @property
    def publisher(self) -> Publisher:
        """The publisher whose epsilon and preprocessing apply. Seeded weights use PaddleClas'."""
        return PUBLISHERS.get(self.source, PUBLISHERS["paddle"])

    def preprocessing(self, size: int) -> Preprocessing:
        """The publisher's preprocessing, for images of `size` pixels.

        At another size than the publisher's, published weights keep the fraction of the image that is cropped. The user's
        own weights were trained at that size, so they get whole images.
        """
        published = self.publisher.preprocessing
        keep = self.path is None or "://" in self.origin or size == published.crop
        resize = round(published.resize * size / published.crop) if keep else size
        return msgspec.structs.replace(published, resize=resize, crop=size)


def locate(model: Model, choice: str | None) -> Checkpoint:
    """The checkpoint of `model` from a source, from a file, or by default, downloaded if it is not in the cache.

    The default is PaddleClas', or seeded weights if its server cannot be reached. Raises UsageError if `choice` is neither
    a source nor a file, WeightsError if the checkpoint is unavailable.
    """
    if choice == SEEDED:
        return Checkpoint(SEEDED, origin=SEEDED)
    if choice is None:
        try:
            return _download(PUBLISHERS["paddle"], model)
        except UnreachableError as error:
            return Checkpoint(SEEDED, origin=SEEDED, fallback=str(error))
    if choice in PUBLISHERS:
        return _download(PUBLISHERS[choice], model)
    path = Path(choice)
    if path.suffix not in SUFFIXES:
        raise unknown("weights source or checkpoint file", choice, [*PUBLISHERS, SEEDED, *(f"FILE{s}" for s in SUFFIXES)])
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.")
    by_family = {"densenet": "torchvision", "dpn": "timm"}
    source = "paddle" if path.suffix == ".pdparams" else by_family[model.family]  # whose format and names it has
    return Checkpoint(source, path, path.name)


def _download(publisher: Publisher, model: Model) -> Checkpoint:
    from trtzoo.models.download import fetch

    if model.name not in publisher.files:
        raise UsageError(f"{publisher.name} publishes no weights of {model.name}; it has {', '.join(publisher.files)}.")
    name, digits = publisher.files[model.name]
    url = publisher.base + name
    return Checkpoint(publisher.name, fetch(url, sha256_prefix=digits), url)
