"""PaddlePaddle's `.pdparams` files without PaddlePaddle: a pickle, read by an unpickler that can make nothing but arrays."""

import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.decoding import UnreadableError
from trtzoo.core.errors import WeightsError
from trtzoo.models.table import Model
from trtzoo.models.unpickler import RefusedError, Unpickler, mapping, sequence

NAME_TABLE = "StructuredToParameterName@@"  # a saved state dict's last key: structured to parameter names, not a tensor


def read(path: Path) -> dict[str, Array]:
    """Structured key → float array, in the file's order, from a state dict or from the one under its "model" key.

    Reads pickle protocols 2 to 5, with arrays as values or as (name, array). The file cannot run code. Raises WeightsError
    if it is empty, truncated, not a state dict, or contains anything else than arrays.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, path.stat().st_size, _STAND_INS, encoding="latin1").load()
    except RefusedError as error:
        raise WeightsError(f"{path}: it is not a weights file: it {error}. None of its code was run.") from error
    except UnreadableError as error:
        raise WeightsError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        reason = "is empty" if path.stat().st_size == 0 else "is truncated or not a .pdparams"
        raise WeightsError(f"{path} {reason}.") from error
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
            raise WeightsError(f"{path} is not a state dict: its entry {reprlib.repr(key)} is not an array of floats.")
        arrays[key] = array.array
    return arrays


class _ArrayUnpickler(Unpickler):
    """Knows the few names that a pickled dict of arrays needs, of NumPy 1 and 2."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module.replace("numpy._core", "numpy.core"), name)


class _Dtype:
    """Stand-in for `numpy.dtype`: a plain float type, and its byte order from the state; None for other types."""

    dtype: np.dtype[Any] | None = None

    def __init__(self, code: Any, *_: Any) -> None:
        if code in ("f2", "f4", "f8"):
            self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        if self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stand-in for `numpy.ndarray`: empty, then filled from its state. It stays None if it does not hold floats."""

    array: Array | None = None

    def __init__(self, *_: Any) -> None:
        """Ignore what `_reconstruct` passes."""

    def set_state(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        self.fill(raw.encode("latin1") if isinstance(raw, str) else raw, kind, shape, "F" if fortran else "C")

    def fill(self, raw: Any, kind: _Dtype, shape: Any, order: Any) -> "_Array":
        if kind.dtype is not None:
            self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)
        return self


def _tensor(expression: Any, scope: Any) -> Any:
    """`eval("data", {"data": array})`, which paddle.save writes for a static program's tensor: the array, without eval."""
    if expression != "data" or not isinstance(scope, dict) or not isinstance(scope.get("data"), _Array):
        raise RefusedError("asks to evaluate code")
    return scope["data"]


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): lambda raw, kind, shape, order: _Array().fill(raw, kind, shape, order),
    ("numpy.core.multiarray", "scalar"): lambda *_: None,
    ("_codecs", "encode"): lambda text, _="latin1": str.encode(text, "latin1"),
    ("collections", "OrderedDict"): mapping,
    ("builtins", "tuple"): sequence,
    ("builtins", "eval"): _tensor,
}


# --- names: ours (torchvision's, timm's) → Paddle's ---

_LEAVES = {"running_mean": "_mean", "running_var": "_variance"}
_KINDS = {"conv": "_conv", "norm": "_batch_norm", "bn": "_batch_norm"}
_MODULES = {
    "features.conv0": "conv1_func._conv",
    "features.norm0": "conv1_func._batch_norm",
    "features.norm5": "batch_norm",
    "features.conv1_1.conv": "conv1_x_1_func._conv",
    "features.conv1_1.bn": "conv1_x_1_func._batch_norm",
    "features.conv5_bn_ac.bn": "conv5_x_x_bn",
    "classifier": "out",
}


def paddle_key(model: Model, key: str) -> str:
    """Paddle's structured key of the parameter that `model`'s network calls `key`. Raises KeyError if it has none."""
    module, _, leaf = key.rpartition(".")
    if match := re.fullmatch(r"features\.denseblock(\d)\.denselayer(\d+)\.(norm|conv)([12])", module):
        stage = int(match[1]) + 1
        theirs = f"db_conv_{stage}.conv{stage}_{match[2]}.bn_ac_func{match[4]}.{_KINDS[match[3]]}"
    elif match := re.fullmatch(r"features\.transition(\d)\.(norm|conv)", module):
        theirs = f"tr_conv{int(match[1]) + 1}_blk.conv_ac_func.{_KINDS[match[2]]}"
    elif match := re.fullmatch(r"features\.conv(\d)_(\d+)\.(c\w+?)(?:_s[12])?\.(conv|bn)", module):
        block = sum(model.arguments["blocks"][: int(match[1]) - 2]) + int(match[2])
        theirs = f"dpn{block}.{match[3]}_func.{_KINDS[match[4]]}"
    else:
        theirs = _MODULES[module]
    return f"{theirs}.{_LEAVES.get(leaf, leaf)}"
