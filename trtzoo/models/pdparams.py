"""PaddlePaddle's `.pdparams` without PaddlePaddle: a pickle read by an unpickler that can make arrays and nothing else."""

import pickle
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.errors import WeightsError
from trtzoo.models.table import Model

NAME_TABLE = "StructuredToParameterName@@"
"""The last key of a saved state dict: structured names to parameter names. Not a tensor."""


def read(path: Path) -> dict[str, Array]:
    """Structured key → array, in the file's order; from a flat dict or from the dict under a "model" key.

    Accepts pickle protocols 2 to 5 with arrays as such or as (name, array). Runs no code of the file's. Raises WeightsError
    for a file that is empty, truncated, not such a dict, or that asks for anything but arrays.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        what = "is empty" if path.stat().st_size == 0 else "is truncated or not a .pdparams"
        raise WeightsError(f"{path} {what}.") from error
    return _arrays(path, content)


def _arrays(path: Path, content: object) -> dict[str, Array]:
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict.")
    arrays = {}
    for key, value in content.items():
        if key == NAME_TABLE:
            continue
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if not isinstance(key, str) or not isinstance(array, _Array) or array.array is None:
            raise WeightsError(f"{path} is no state dict: its entry {reprlib.repr(key)} is not an array of floats.")
        arrays[key] = array.array
    return arrays


class _ArrayUnpickler(pickle._Unpickler):
    """Knows the few names that a pickled dict of arrays needs, and gives a stand-in of ours for each.

    No class or function of Python's or NumPy's is ever within a file's reach, so none can be called or altered. The
    unpickler is the one written in Python, with byte arrays read as bytes: the rest fill as many gigabytes as a forged
    number says.
    """

    dispatch = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]]}

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if stand_in := _STAND_INS.get((module, name)):
            return stand_in
        raise WeightsError(f"it is not a file of weights: it asks for {module}.{name}, and nothing of it was run.")

    def persistent_load(self, pid: Any) -> Any:
        raise WeightsError("it is not a file of weights: it refers to objects outside itself.")


class _Call:
    """A function that a pickle may call and can do nothing else with: no attribute of it can be set."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


class _Dtype:
    """`numpy.dtype`: a plain float and, from its state, its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype: np.dtype[Any] | None = np.dtype(code) if code in ("f2", "f4", "f8") else None

    def __setstate__(self, state: Any) -> None:
        if self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """`numpy.ndarray`: empty as `_reconstruct` makes it, then what its state says. None where it does not hold floats."""

    __slots__ = ("array",)

    def __init__(self, *_: Any) -> None:
        self.array: Array | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        self._fill(raw.encode("latin1") if isinstance(raw, str) else raw, kind, shape, "F" if fortran else "C")

    def _fill(self, raw: Any, kind: _Dtype, shape: Any, order: Any) -> "_Array":
        if kind.dtype is not None:
            self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)
        return self


def _tensor(expression: Any, scope: Any) -> Any:
    """`eval("data", {"data": array})`, which is how paddle.save writes a static program's tensor: the array, no eval."""
    if expression != "data" or not isinstance(scope, dict) or not isinstance(scope.get("data"), _Array):
        raise WeightsError("it is not a file of weights: it asks to evaluate code, and nothing of it was run.")
    return scope["data"]


_STAND_INS: dict[tuple[str, str], _Call] = {
    ("numpy", "ndarray"): _Call(_Array),
    ("numpy", "dtype"): _Call(_Dtype),
    ("numpy.core.multiarray", "_reconstruct"): _Call(_Array),
    ("numpy.core.numeric", "_frombuffer"): _Call(lambda raw, kind, shape, order: _Array()._fill(raw, kind, shape, order)),
    ("numpy.core.multiarray", "scalar"): _Call(lambda *_: None),
    ("_codecs", "encode"): _Call(lambda text, _="latin1": str.encode(text, "latin1")),
    ("collections", "OrderedDict"): _Call(dict),
    ("builtins", "tuple"): _Call(tuple),
    ("builtins", "eval"): _Call(_tensor),
}


# --- names: ours (torchvision's, timm's) → Paddle's. Each rule: a pattern over our key, and what it becomes. ---

_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
_NORM, _CONV = "_batch_norm", "_conv"


def paddle_key(model: Model, key: str) -> str:
    """Paddle's structured key of the parameter that `model`'s network calls `key`."""
    module, _, leaf = key.rpartition(".")
    leaf = _STATISTICS.get(leaf, leaf)
    for pattern, name in _RULES[model.family].items():
        if match := re.fullmatch(pattern, module):
            return f"{name(model, *match.groups())}.{leaf}"
    raise KeyError(key)


def _block(model: Model, stage: str, index: str, conv: str, kind: str) -> str:
    number = sum(model.arguments["blocks"][: int(stage) - 2]) + int(index)
    return f"dpn{number}.{re.sub('_s[12]$', '', conv)}_func.{_CONV if kind == 'conv' else _NORM}"


_RULES: dict[str, dict[str, Callable[..., str]]] = {
    "densenet": {
        r"features\.conv0": lambda m: f"conv1_func.{_CONV}",
        r"features\.norm0": lambda m: f"conv1_func.{_NORM}",
        r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)([12])": lambda m, b, n, kind, i: (
            f"db_conv_{int(b) + 1}.conv{int(b) + 1}_{n}.bn_ac_func{i}.{_CONV if kind == 'conv' else _NORM}"
        ),
        r"features\.transition(\d)\.(norm|conv)": lambda m, b, kind: (
            f"tr_conv{int(b) + 1}_blk.conv_ac_func.{_CONV if kind == 'conv' else _NORM}"
        ),
        r"features\.norm5": lambda m: "batch_norm",
        r"classifier": lambda m: "out",
    },
    "dpn": {
        r"features\.conv1_1\.conv": lambda m: f"conv1_x_1_func.{_CONV}",
        r"features\.conv1_1\.bn": lambda m: f"conv1_x_1_func.{_NORM}",
        r"features\.conv(\d)_(\d+)\.(c\w+)\.(conv|bn)": _block,
        r"features\.conv5_bn_ac\.bn": lambda m: "conv5_x_x_bn",
        r"classifier": lambda m: "out",
    },
}
