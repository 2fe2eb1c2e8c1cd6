"""A located checkpoint becomes a network: every key, shape and value is checked, and no code of the file runs."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trtzoo.core.arrays import Array
from trtzoo.core.console import log
from trtzoo.core.decoding import UnreadableError
from trtzoo.core.errors import TrtzooError, WeightsError
from trtzoo.core.files import sha256_file
from trtzoo.core.records import Weights
from trtzoo.models import pdparams, torchfile
from trtzoo.models.seeded import seed
from trtzoo.models.sources import Checkpoint
from trtzoo.models.state_dicts import StateDict, find_state, strip_prefixes
from trtzoo.models.table import TIMM, Model, build_network
from trtzoo.models.unpickler import RefusedError

MAX_HEADER = 1 << 23  # bytes of a safetensors file's header; DenseNet-264's has 190,000

# torchvision's published files have `norm.1` where its modules have `norm1`.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
HEADS = ("out.", "classifier.", "head.", "fc.")


def load(model: Model, checkpoint: Checkpoint, *, classes: int = 1000, size: int = 224) -> tuple[nn.Module, Weights]:
    """The network in eval mode, float32, and the record of its weights. `size` is that of the images, where it matters.

    Raises WeightsError if the file is damaged, unsafe, not finite, or made for another network or class count.
    """
    publisher, path = checkpoint.publisher, checkpoint.path
    network = build_network(model, classes=classes, epsilon=checkpoint.epsilon, size=size, device="meta")
    if path:
        _assign(model, network, checkpoint)
    digest = sha256_file(path) if path else state_sha256(seed(network, size=size, blocks=model.family == TIMM).state_dict())
    record = Weights(
        source=checkpoint.source,
        origin=checkpoint.origin,
        sha256=digest,
        entry=checkpoint.entry,
        epsilon=_epsilon(network) if checkpoint.epsilon is None else checkpoint.epsilon,
        preprocessing=publisher.preprocessing,
        fallback=checkpoint.fallback,
    )
    return network, record


def infer_classes(model: Model, checkpoint: Checkpoint) -> int | None:
    """The classes of the user's own checkpoint, by the shape of its classifier; None if that is not found."""
    path, name = checkpoint.path, "classifier.weight"
    if path is None or not checkpoint.is_local:
        return None
    if path.suffix == ".pdparams":
        array = pdparams.read(path).get(pdparams.paddle_key(model, name))
        return None if array is None else int(array.shape[-1] if array.ndim == 2 else array.shape[0])
    names = [name]
    if model.family == TIMM:
        from trtzoo.models.timm_networks import classifiers

        names = classifiers(model.arguments["name"])
    state = strip_prefixes(read_state(path, checkpoint.entry), names)
    found = next((state.tensors[name] for name in names if name in state.tensors), None)
    return None if found is None or found.dim() < 2 else int(found.shape[0])


def _epsilon(network: nn.Module) -> float:
    """The epsilon of the network's norms, 0 without one."""
    found = (getattr(module, "eps", None) for module in network.modules())
    return next((epsilon for epsilon in found if isinstance(epsilon, float)), 0.0)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """sha256 of all tensors' bytes in the network's order."""
    digest = hashlib.sha256()
    for tensor in state.values():
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _assign(model: Model, network: nn.Module, checkpoint: Checkpoint) -> None:
    """Give the network the file's tensors."""
    path = checkpoint.path
    assert path is not None
    wanted = {key: tensor for key, tensor in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    found: Mapping[str, Array | Tensor]
    if path.suffix == ".pdparams":
        found = pdparams.read(path)
        names = {pdparams.paddle_key(model, key): key for key in wanted}
    else:
        state = strip_prefixes(read_state(path, checkpoint.entry), wanted)
        for note in state.notes:
            log.info("%s: trtzoo %s", path, note)
        found = _renamed(model, network, state.tensors, wanted)
        names = {key: key for key in wanted}
    missing, unknown = sorted(names.keys() - found.keys()), sorted(found.keys() - names.keys())
    if missing or unknown:
        first = f"it lacks {missing[0]!r}" if missing else f"it has {unknown[0][:200]!r}, which {model.name} does not have"
        counts = f"{len(missing)} of {len(names)} keys missing, {len(unknown)} unknown"
        raise WeightsError(f"{path} is not a checkpoint of {model.name}: {first} ({counts}).")
    state_dict = {ours: _fitted(path, theirs, found[theirs], wanted[ours]) for theirs, ours in names.items()}
    counters = {key: torch.zeros((), dtype=torch.int64) for key in network.state_dict() if key not in wanted}
    network.load_state_dict(state_dict | counters, assign=True)


def _renamed(model: Model, network: nn.Module, tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A torch file's tensors by the network's names; timm translates other publishers' files of its architectures."""
    state = {
        _OLD_DENSENET.sub(r"\1\2", key): value for key, value in tensors.items() if not key.endswith("num_batches_tracked")
    }
    if model.family == TIMM and state.keys() != wanted.keys():
        from trtzoo.models.timm_networks import translated

        state = translated(network, state)
    return state


def read_state(path: Path, entry: str = "") -> StateDict:
    """The state dict in a torch or safetensors file: all of it, or its `entry`."""
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else torchfile.read(path)
        return find_state(path, content, entry=entry)
    except TrtzooError:
        raise
    except RefusedError as error:
        raise WeightsError(
            f"{path} holds more than tensors (perhaps a whole module). None of its code was run. "
            "Save only the state dict: torch.save(network.state_dict(), FILE)."
        ) from error
    except UnreadableError as error:
        raise WeightsError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # a hostile file can make the readers raise anything
        raise WeightsError(f"{path} is empty, truncated or not a checkpoint.") from error


def _read_safetensors(path: Path) -> Any:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise UnreadableError(f"its header has {length:,} bytes; the limit is {MAX_HEADER:,}")
    return safetensors.torch.load_file(path)


def _fitted(path: Path, key: str, found: Array | Tensor, like: Tensor) -> Tensor:
    """The tensor as float32 in the network's shape. Paddle's linear weights are [in, out]; DPN's classifier is a 1x1 conv."""
    tensor = found if isinstance(found, Tensor) else torch.from_numpy(found.astype(found.dtype.newbyteorder("=")))
    shape = like.shape
    if not like.is_floating_point() and tensor.dtype == like.dtype and tensor.shape == shape and not tensor.is_meta:
        return tensor  # a table of indices
    if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.is_meta:
        raise WeightsError(f"{path}: {key!r} is not a plain tensor of floating-point numbers.")
    transposed = path.suffix == ".pdparams" and tensor.dim() == 2
    fitted = tensor.T if transposed else tensor
    if fitted.dim() == 2 and len(shape) == 4:
        fitted = fitted[:, :, None, None]
    if fitted.shape != shape:
        expected = list(shape[1::-1] if transposed else shape)
        hint = " If it has another class count, add --classes N." if key.startswith(HEADS) else ""
        raise WeightsError(f"{path}: {key!r} has shape {list(tensor.shape)}; the network needs {expected}.{hint}")
    fitted = fitted.float().contiguous()
    if not torch.isfinite(fitted).all():
        raise WeightsError(f"{path}: {key!r} contains NaN, infinity, or values beyond float32's range.")
    if key.endswith(("running_var", "_variance")) and (fitted < 0).any():
        raise WeightsError(f"{path}: {key!r} contains negative variances.")
    return fitted
