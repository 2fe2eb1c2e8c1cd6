"""A located checkpoint becomes a network: every key, shape and value is checked, and no code of the file runs."""

import hashlib
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trtzoo.core.arrays import Array
from trtzoo.core.decoding import UnreadableError
from trtzoo.core.errors import WeightsError
from trtzoo.core.files import sha256_file
from trtzoo.core.records import Weights
from trtzoo.models import pdparams, torchfile
from trtzoo.models.seeded import seed
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import Model, build_network
from trtzoo.models.unpickler import RefusedError

MAX_HEADER = 1 << 23  # bytes of a safetensors file's header; DenseNet-264's has 190,000

# torchvision's published files have `norm.1` where its modules have `norm1`.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def load(model: Model, checkpoint: Checkpoint, *, classes: int = 1000) -> tuple[nn.Module, Weights]:
    """The network in eval mode, float32, and the record of its weights.

    Raises WeightsError if the file is damaged, unsafe, not finite, or made for another network or class count.
    """
    publisher, path = checkpoint.publisher, checkpoint.path
    network = build_network(model, classes=classes, epsilon=publisher.epsilon, device="meta")
    if path:
        _assign(model, network, path)
    digest = sha256_file(path) if path else state_sha256(seed(network).state_dict())
    record = Weights(
        source=checkpoint.source,
        origin=checkpoint.origin,
        sha256=digest,
        epsilon=publisher.epsilon,
        preprocessing=publisher.preprocessing,
        fallback=checkpoint.fallback,
    )
    return network, record


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """sha256 of all tensors' bytes in the network's order."""
    digest = hashlib.sha256()
    for tensor in state.values():
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _assign(model: Model, network: nn.Module, path: Path) -> None:
    """Give the meta network the file's tensors."""
    wanted = {key: tensor for key, tensor in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    found: Mapping[str, Array | Tensor]
    if path.suffix == ".pdparams":
        found = pdparams.read(path)
        names = {pdparams.paddle_key(model, key): key for key in wanted}
    else:
        state = {_OLD_DENSENET.sub(r"\1\2", key.removeprefix("module.")): value for key, value in _read_torch(path).items()}
        found = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
        names = {key: key for key in wanted}
    missing, unknown = sorted(names.keys() - found.keys()), sorted(found.keys() - names.keys())
    if missing or unknown:
        first = f"it lacks {missing[0]!r}" if missing else f"it has {unknown[0][:200]!r}, which {model.name} does not have"
        counts = f"{len(missing)} of {len(names)} keys missing, {len(unknown)} unknown"
        raise WeightsError(f"{path} is not a checkpoint of {model.name}: {first} ({counts}).")
    state = {ours: _fitted(path, theirs, found[theirs], wanted[ours].shape) for theirs, ours in names.items()}
    counters = {key: torch.zeros((), dtype=torch.int64) for key in network.state_dict() if key not in wanted}
    network.load_state_dict(state | counters, assign=True)


def _read_torch(path: Path) -> dict[str, Tensor]:
    """A state dict, bare or under "state_dict" or "model"."""
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else torchfile.read(path)
    except RefusedError as error:
        raise WeightsError(
            f"{path} holds more than tensors (perhaps a whole module). None of its code was run. "
            "Save only the state dict: torch.save(network.state_dict(), FILE)."
        ) from error
    except UnreadableError as error:
        raise WeightsError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # a hostile file can make the readers raise anything
        raise WeightsError(f"{path} is empty, truncated or not a checkpoint.") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a state dict: it holds a {type(content).__name__}.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path} is not a state dict: its entry {reprlib.repr(key)} is not a tensor.")
    return content


def _read_safetensors(path: Path) -> Any:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise UnreadableError(f"its header has {length:,} bytes; the limit is {MAX_HEADER:,}")
    return safetensors.torch.load_file(path)


def _fitted(path: Path, key: str, found: Array | Tensor, shape: torch.Size) -> Tensor:
    """The tensor as float32 in the network's shape. Paddle's linear weights are [in, out]; DPN's classifier is a 1x1 conv."""
    tensor = found if isinstance(found, Tensor) else torch.from_numpy(found.astype(found.dtype.newbyteorder("=")))
    if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.is_meta:
        raise WeightsError(f"{path}: {key!r} is not a plain tensor of floating-point numbers.")
    transposed = path.suffix == ".pdparams" and tensor.dim() == 2
    fitted = tensor.T if transposed else tensor
    if fitted.dim() == 2 and len(shape) == 4:
        fitted = fitted[:, :, None, None]
    if fitted.shape != shape:
        expected = list(shape[1::-1] if transposed else shape)
        hint = " If it has another class count, add --classes N." if key.startswith(("out.", "classifier.")) else ""
        raise WeightsError(f"{path}: {key!r} has shape {list(tensor.shape)}; the network needs {expected}.{hint}")
    fitted = fitted.float().contiguous()
    if not torch.isfinite(fitted).all():
        raise WeightsError(f"{path}: {key!r} contains NaN, infinity, or values beyond float32's range.")
    if key.endswith(("running_var", "_variance")) and (fitted < 0).any():
        raise WeightsError(f"{path}: {key!r} contains negative variances.")
    return fitted
