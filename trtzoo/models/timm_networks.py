"""timm's classifiers as networks of the zoo: made without torchvision, with the preprocessing of timm's own configuration.

timm's networks import two things that need torchvision: a class that none of them uses, and timm.data, of which they use
constants only. Stand-ins take their places while timm is imported, because a torchvision that does not fit PyTorch cannot be.
"""

import importlib.util
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from trtzoo.core.errors import UsageError, WeightsError, unknown
from trtzoo.core.modules import require_module
from trtzoo.core.records import Preprocessing

HUB = "https://huggingface.co/{}/resolve/main/model.safetensors"
KNOWN = ("bilinear", "bicubic")


@cache
def load_timm() -> Any:
    """The package timm. Raises MachineError if it is not installed."""
    require_module("A network of timm", module="timm", extra="timm")
    if "timm" in sys.modules:
        return sys.modules["timm"]
    with _stand_ins():
        import timm
    return timm


def create(*, name: str, classes: int, epsilon: float | None, size: int | None = None) -> nn.Module:
    """The architecture `name` for images of `size` x `size`, by default of timm's size, with timm's initial weights.

    Raises UsageError if timm has no such architecture, or if it is none for images of that size.
    """
    timm, wanted = load_timm(), configuration(name)
    own = wanted["input_size"][1]
    with_size = {"img_size": size} if size and size != own else {}
    try:
        network = timm.create_model(name, num_classes=classes, **with_size)
    except TypeError:  # it has no parameter of that name: a network of convolutions takes any size
        network = timm.create_model(name, num_classes=classes)
    except Exception as error:
        raise UsageError(f"timm cannot make {name} for images of {size}x{size}: {error}.") from error
    if epsilon is not None:
        for norm in batch_norms(network):
            norm.eps = epsilon
    return network.eval()  # type: ignore[no-any-return]


def batch_norms(network: nn.Module) -> list[Any]:
    """The network's batch normalisations, timm's with an activation included."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@cache
def configuration(name: str) -> dict[str, Any]:
    """timm's configuration of an architecture: input_size, mean, std, interpolation, crop_pct, num_classes, where weights are.

    Raises UsageError for an unknown architecture, and for one that is no classifier of images with three channels.
    """
    timm = load_timm()
    if not timm.is_model(name):
        architectures = timm.list_models()
        error = unknown("architecture of timm", name, architectures)
        raise UsageError(str(error).partition(" Known:")[0] + f" timm has {len(architectures):,}: timm.list_models().")
    try:
        found = timm.models.get_pretrained_cfg(name)
    except Exception as error:  # an unknown tag: resnet18.nothing
        raise UsageError(f"timm has no weights {name!r}: {error}.") from error
    content: dict[str, Any] = found.to_dict() if found else {}
    usual: dict[str, Any] = {"input_size": (3, 224, 224), "num_classes": 1000}
    content = usual | content
    if content["input_size"][0] != 3 or content["input_size"][1] != content["input_size"][2]:
        raise UsageError(f"{name} takes images of {content['input_size']}; trtzoo exports networks of (3, S, S).")
    return content


def classifiers(name: str) -> list[str]:
    """The names of the weights that have a row for each class, as timm's configuration says."""
    found = configuration(name).get("classifier") or "head"
    return [f"{each}.weight" for each in ([found] if isinstance(found, str) else found)]


def translated(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of another publisher's file with timm's names, or as they are if timm cannot translate them."""
    module = sys.modules[type(network).__module__]
    translate = getattr(module, "checkpoint_filter_fn", None) or getattr(module, "_filter_fn", None)
    try:
        return dict(translate(dict(state), network)) if translate else state
    except Exception:  # it expects another file
        return state


def usual_size(name: str) -> int:
    """The height and width of timm's images for the architecture."""
    return int(configuration(name)["input_size"][1])


def usual_classes(name: str) -> int:
    """The classes of timm's weights, or 1000 for an architecture without a classifier of its own."""
    return int(configuration(name)["num_classes"]) or 1000


def preprocessing(name: str) -> Preprocessing:
    """timm's preprocessing of photographs for its weights, at its size. An unknown interpolation is taken as bicubic."""
    content = configuration(name)
    size, method = int(content["input_size"][1]), content.get("interpolation", "bicubic")
    return Preprocessing(
        decoder="pil",
        interpolation=method if method in KNOWN else "bicubic",
        resize=math.floor(size / content.get("crop_pct", 0.875)),
        crop=size,
        mean=content.get("mean", (0.485, 0.456, 0.406)),
        std=content.get("std", (0.229, 0.224, 0.225)),
    )


def address(name: str) -> tuple[str, str]:
    """The URL of timm's weights, and the name of the file in the cache. Raises WeightsError if there is no plain file."""
    content = configuration(name)
    hub, tag = content.get("hf_hub_id"), content.get("tag") or "default"
    if not hub or content.get("custom_load") or content.get("hf_hub_filename"):
        raise WeightsError(f"timm publishes no plain weights of {name}. Choose: --weights seeded or --weights FILE")
    architecture = name.partition(".")[0]
    repository = f"{hub}{architecture}.{tag}" if hub.endswith("/") else hub
    return HUB.format(repository), f"{architecture}.{tag}.safetensors"


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Meanwhile, modules without content take the places of torchvision, and one with timm's constants that of timm.data."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "data"
    names = ("torchvision", "torchvision.ops", "torchvision.ops.misc")
    modules = {name: ModuleType(name) for name in names if name not in sys.modules}
    if "torchvision.ops.misc" in modules:
        modules["torchvision.ops.misc"].FrozenBatchNorm2d = type("FrozenBatchNorm2d", (nn.Module,), {})  # type: ignore[attr-defined]
    data = modules["timm.data"] = ModuleType("timm.data")
    data.__path__ = [str(folder)]
    exec((folder / "constants").with_suffix(".py").read_text(), vars(data))
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
