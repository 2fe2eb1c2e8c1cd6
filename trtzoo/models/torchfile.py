"""PyTorch's checkpoints without `torch.load`: tensors are made of the file's bytes, and nothing else is made.

`torch.load(weights_only=True)` bounds neither memory nor time, and runs code in PyTorch before 2.6 (CVE-2025-32434).

zip       torch.save since PyTorch 1.6: archive/data.pkl, and each storage's bytes in archive/data/KEY
before    five pickles (a magic number, a version, the machine, the content, the storages' keys), then the storages
"""

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

import torch
from torch import Tensor

from trtzoo.core.archives import open_archive
from trtzoo.core.decoding import UnreadableError
from trtzoo.models.unpickler import RefusedError, Unpickler, mapping, sequence

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
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


class _Ignored:
    """A settings object of a trainer. It stays empty, whatever it is given."""

    def set_state(self, state: Any) -> None:
        """Ignore attributes."""

    append = extend = set_items = set_state


class _Storage:
    """The elements that tensors show. Their bytes follow the pickle."""

    def __init__(self, kind: torch.dtype) -> None:
        self.elements = torch.empty(0, dtype=kind)

    def fill(self, file: IO[bytes], size: int) -> None:
        """Read `size` bytes."""
        content = bytearray(size)
        if file.readinto(content) != size:  # type: ignore[attr-defined]
            raise EOFError
        if size:
            self.elements = torch.frombuffer(content, dtype=self.elements.dtype)


class _Tensor:
    """A tensor before its storage is read; without a storage it is one that a network cannot have, such as a sparse one."""

    def __init__(self, storage: Any = None, offset: Any = 0, shape: Any = (), stride: Any = (), *_: Any) -> None:
        self._storage, self._view = storage, (shape, stride, offset)

    def set_state(self, state: Any) -> None:
        """Ignore the attributes of a parameter."""

    def make(self) -> Tensor:
        if not isinstance(self._storage, _Storage):
            return torch.empty(0, device="meta")
        elements, (shape, stride, offset) = self._storage.elements, self._view
        if not 0 <= offset <= len(elements):
            raise ValueError("a tensor is outside its storage")
        return torch.as_strided(elements, shape, stride, offset)  # which checks the rest


def read(path: Path) -> Any:
    """What a checkpoint holds; `with_tensors` makes the tensors. Raises RefusedError if that is more than tensors,
    UnreadableError with another reason, and whatever damage causes.
    """
    with path.open("rb") as file:
        start, _ = file.read(4), file.seek(0)
        content = _read_zip(file) if start == b"PK\x03\x04" else _read_stream(file)
    if isinstance(content, _Ignored):
        raise RefusedError("is an object of a trainer")
    return content


def with_tensors(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """A dict of `read`'s with tensors in place of what stands for them."""
    return {key: part.make() if isinstance(part, _Tensor) else part for key, part in state.items()}


class _TensorUnpickler(Unpickler):
    """Collects the `storages` of one file by key."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__(file, size, _STAND_INS, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda", "torch.storage") and (kind := KINDS.get(name.removesuffix("Storage"))):
            return kind
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module.partition(".")[0] in IGNORED and (module, name) not in self.stand_ins:
            return ignored
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, key, _device, _length, *view = pid
        if word != "storage" or not isinstance(kind, torch.dtype) or type(key) is not str or any(view):
            raise RefusedError("has storages of an unknown kind")
        return self.storages.setdefault(key, _Storage(kind))


_OTHERS = ("tensor_v3", "sparse_tensor", "qtensor", "nested_tensor", "meta_tensor_no_storage", "device_tensor_from_numpy")


def _other(*_: Any) -> _Tensor:
    """A stand-in for what makes sparse, quantized and other tensors."""
    return _Tensor()


def ignored(*_: Any) -> _Ignored:
    """A stand-in for what makes an object of the packages IGNORED."""
    return _Ignored()


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
    ("collections", "defaultdict"): lambda *_: {},
    **{("builtins", name): ignored for name in ("bool", "dict", "float", "int", "list", "str")},  # types, as settings name them
    ("", ""): ignored,  # which `find_class` gives for the names in IGNORED
}


def _read_zip(file: BinaryIO) -> Any:
    archive = open_archive(file)
    root = archive.namelist()[0].partition("/")[0]
    if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder") != b"little":
        raise UnreadableError("it was written by a big-endian machine")
    pickled = archive.getinfo(f"{root}/data.pkl")
    with archive.open(pickled) as entry:
        unpickler = _TensorUnpickler(entry, pickled.file_size)
        content = unpickler.load()
    for key, storage in unpickler.storages.items():
        stored = archive.getinfo(f"{root}/data/{key}")
        with archive.open(stored) as entry:
            storage.fill(entry, stored.file_size)
    return content


def _read_stream(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    unpickler = _TensorUnpickler(file, size)
    if unpickler.load() != MAGIC or unpickler.load() != VERSION or not unpickler.load()["little_endian"]:
        raise pickle.UnpicklingError
    content, keys = unpickler.load(), unpickler.load()
    for key in keys:
        storage = unpickler.storages[key]
        length = int.from_bytes(file.read(8), "little", signed=True) * storage.elements.element_size()
        if not 0 <= length <= size - file.tell():
            raise EOFError
        storage.fill(file, length)
    return content
