"""PyTorch's checkpoints: `torch.load(weights_only=True)`, behind a check of what the file asks for and claims.

`weights_only` bounds neither memory nor time. So an unpickler of ours reads the file's pickles first. It makes no tensor, and
refuses a file that asks for more than tensors, or that claims more bytes than it has.

zip       torch.save since PyTorch 1.6: archive/data.pkl, and each storage's bytes in archive/data/KEY
before    five pickles (a magic number, a version, the machine, the content, the storages' keys), then the storages
"""

import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

import torch

from trtzoo.core.archives import open_archive
from trtzoo.core.decoding import UnreadableError
from trtzoo.models.unpickler import RefusedError, Unpickler, mapping, sequence

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
PROTOCOL = 2  # what torch.save writes, and torch.load(weights_only=True) reads
KINDS = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
}
"""Elements of PyTorch's storages by the start of their class's name."""
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
IGNORED = {"argparse", "hydra", "lightning", "lightning_fabric", "omegaconf", "pathlib", "pytorch_lightning", "typing", "yacs"}
"""Packages whose objects trainers save beside the weights. In their places are objects that do and keep nothing."""
TYPES = {"bool", "dict", "float", "int", "list", "str"}  # of builtins, as trainers' settings name them


class Ignored:
    """A settings object of a trainer. It stays empty, whatever it is given."""

    def __new__(cls, *_: Any) -> "Ignored":
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Ignore attributes."""

    set_state = append = extend = set_items = __setstate__


class _Storage:
    """How many elements of which type a storage has, as the pickle claims."""

    def __init__(self, kind: torch.dtype, length: int) -> None:
        self.length, self.bytes = length, length * kind.itemsize


class _Tensor:
    """A tensor that is not made. Raises RefusedError if it is not inside its storage."""

    def __init__(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> None:
        sides = [*shape, *stride, offset]
        if (
            not isinstance(storage, _Storage)
            or len(shape) != len(stride)
            or any(type(side) is not int or side < 0 for side in sides)
        ):
            raise pickle.UnpicklingError
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if 0 not in shape and last >= storage.length:
            raise pickle.UnpicklingError("a tensor is outside its storage")

    def set_state(self, state: Any) -> None:
        """Ignore the attributes of a parameter."""


def read(path: Path) -> Any:
    """What a checkpoint holds. Raises RefusedError if that is more than tensors, UnreadableError with another reason, and
    whatever damage causes.
    """
    with path.open("rb") as file, warnings.catch_warnings():
        start, _ = file.read(4), file.seek(0)
        found = _check_zip(file) if start == b"PK\x03\x04" else _check_stream(file)
        if found.proto > PROTOCOL:
            raise UnreadableError(
                f"it has pickle protocol {found.proto}; torch.load(weights_only=True) reads {PROTOCOL}. "
                "Save it again: torch.save(state, FILE)"
            )
        warnings.simplefilter("ignore")
        file.seek(0)
        with torch.serialization.safe_globals([(Ignored, name) for name in found.ignored]):
            return torch.load(file, map_location="cpu", weights_only=True)


class _Check(Unpickler):
    """Collects the `storages` of one file by key, and the names of what is `ignored`."""

    proto: int  # of the pickle that was read last

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__(file, size, _STAND_INS, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}
        self.ignored: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda", "torch.storage") and (kind := KINDS.get(name.removesuffix("Storage"))):
            return kind
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module.partition(".")[0] in IGNORED or (module in ("builtins", "__builtin__") and name in TYPES):
            self.ignored.add(f"{module}.{name}")
            return ignored
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, key, _device, length, *view = pid
        if word != "storage" or not isinstance(kind, torch.dtype) or type(key) is not str or any(view):
            raise RefusedError("has storages of an unknown kind")
        if type(length) is not int or length < 0 or self.storages.setdefault(key, _Storage(kind, length)).length != length:
            raise pickle.UnpicklingError
        return self.storages[key]


_OTHERS = ("tensor_v3", "sparse_tensor", "qtensor", "nested_tensor", "meta_tensor_no_storage", "device_tensor_from_numpy")


def _other(*_: Any) -> Any:
    """A stand-in for what makes sparse, quantized and other tensors."""
    raise UnreadableError("it has sparse, quantized or other special tensors, and a network has plain ones")


def ignored(*_: Any) -> Ignored:
    """A stand-in for what makes an object of the packages IGNORED."""
    return Ignored()


_STAND_INS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
    **{("torch._utils", f"_rebuild_{name}"): _other for name in _OTHERS},
    ("torch.serialization", "_get_layout"): lambda name: name,
    ("torch", "Size"): sequence,
    ("torch", "device"): lambda *_: None,
    ("collections", "OrderedDict"): mapping,
    ("", ""): ignored,  # which `find_class` gives for what is ignored
}


def _check_zip(file: BinaryIO) -> _Check:
    archive = open_archive(file)
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise UnreadableError("it has several entries of one name")
    root = names[0].partition("/")[0]
    pickled = archive.getinfo(f"{root}/data.pkl")
    with archive.open(pickled) as entry:
        found = _Check(entry, pickled.file_size)
        if isinstance(found.load(), Ignored):
            raise RefusedError("is an object of a trainer")
    if any(archive.getinfo(f"{root}/data/{key}").file_size != storage.bytes for key, storage in found.storages.items()):
        raise EOFError
    return found


def _check_stream(file: BinaryIO) -> _Check:
    size = os.fstat(file.fileno()).st_size
    found = _Check(file, size)
    if found.load() != MAGIC or found.load() != VERSION or not found.load()["little_endian"]:
        raise pickle.UnpicklingError
    content, keys = found.load(), found.load()
    if isinstance(content, Ignored):
        raise RefusedError("is an object of a trainer")
    if set(keys) != set(found.storages) or sum(storage.bytes + 8 for storage in found.storages.values()) > size - file.tell():
        raise EOFError
    return found
