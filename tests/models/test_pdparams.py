"""`.pdparams` files in every form that PaddlePaddle has written, and pickles that are damaged or hostile."""

import builtins
import copyreg
import os
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.goldens import fill
from trtzoo.core.errors import WeightsError
from trtzoo.models import pdparams
from trtzoo.models.pdparams import NAME_TABLE, read
from trtzoo.models.table import MODELS, build_network

NAMES = {"a.weight": "a_0.w_0", "b.bias": "b_0.b_0", "c._mean": "c_0.w_1"}
STATE = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "b.bias": np.float32([1.5, -2.5]),
    "c._mean": np.float32([0.25]),
}


def write(folder: Path, content: bytes | object, protocol: int = 4) -> Path:
    path = folder / "file.pdparams"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


def same(read_back: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> bool:
    return list(read_back) == list(state) and all(np.array_equal(read_back[key], state[key]) for key in state)


# --- the forms ---


class StaticTensor:
    """A static program's tensor, as paddle.save writes it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("data", {"data": self.array})


class DynamicTensor(StaticTensor):
    """A tensor inside a nested object, as paddle.save writes it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (("parameter_0", self.array),)


FORMS: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "state dict": lambda state: {**state, NAME_TABLE: NAMES},
    "without the name table": dict,
    "ordered": OrderedDict,
    "training checkpoint": lambda state: {"epoch": 120, "model": {k: (NAMES[k], v) for k, v in state.items()}},
    "checkpoint with an optimizer": lambda state: {
        "model": state,
        "opt": {"moment": np.arange(3), "lr": np.float32(0.1), "names": np.array(["x", None], dtype=object)},
    },
    "dynamic tensors": lambda state: {"model": {key: DynamicTensor(value) for key, value in state.items()}},
    "static tensors": lambda state: {key: StaticTensor(value) for key, value in state.items()},
    "float16": lambda state: {key: value.astype(np.float16) for key, value in state.items()},
    "float64": lambda state: {key: value.astype(np.float64) for key, value in state.items()},
    "big-endian": lambda state: {key: value.astype(">f4") for key, value in state.items()},
    "Fortran order": lambda state: {key: np.asfortranarray(value) for key, value in state.items()},
    "not contiguous": lambda state: {key: np.stack([value, value], -1)[..., 0] for key, value in state.items()},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_in_every_protocol(form: str, protocol: int, tmp_path: Path) -> None:
    assert same(read(write(tmp_path, FORMS[form](STATE), protocol)), STATE)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_files_of_numpy_1_and_numpy_2_are_read(core: str, protocol: int, tmp_path: Path) -> None:
    assert same(read(write(tmp_path, _renamed(pickle.dumps(STATE, protocol), core))), STATE)


def test_a_file_written_by_python_2_is_read(tmp_path: Path) -> None:
    arrays = b"".join(_python2_text(key) + _python2_array(value) for key, value in STATE.items())
    assert same(read(write(tmp_path, b"\x80\x02}(" + arrays + b"u.")), STATE)


def _renamed(data: bytes, core: str) -> bytes:
    """The pickle with NumPy's modules renamed."""
    for module in (b"multiarray", b"numeric"):
        for other in (b"numpy._core.", b"numpy.core."):
            old, new = other + module, f"{core}.".encode() + module
            data = data.replace(b"c" + old + b"\n", b"c" + new + b"\n")
            data = data.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
    return data if data[2:3] != b"\x95" else data[:2] + data[11:]  # without the frame, whose length has changed


def _python2_text(text: str | bytes) -> bytes:
    raw = text.encode("latin1") if isinstance(text, str) else text
    return b"T" + len(raw).to_bytes(4, "little") + raw  # BINSTRING: Python 2's str


def _python2_array(array: np.ndarray) -> bytes:
    shape = b"(" + b"".join(b"K" + bytes([length]) for length in array.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(" + _python2_text("f4") + b"K\x00K\x01tR(K\x03" + _python2_text("<") + b"NNNJ\xff\xff\xff\xff"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + _python2_text("b") + b"tR"
    return start + b"(K\x01" + shape + dtype + b"J\xff\xff\xff\xffK\x00tb\x89" + _python2_text(array.tobytes()) + b"tb"


@given(
    state=st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda key: key not in (NAME_TABLE, "model")),
        hnp.arrays(
            st.sampled_from(["<f2", "<f4", "<f8", ">f4"]),
            hnp.array_shapes(min_dims=0, max_dims=4, max_side=4),
            elements=st.floats(-100, 100, width=16),
        ),
        max_size=5,
    ),
    protocol=st.sampled_from([2, 3, 4, 5]),
)
def test_any_dict_of_float_arrays_is_read_without_loss(state: dict[str, np.ndarray], protocol: int, tmp_path: Path) -> None:
    assert same(read(write(tmp_path, state, protocol)), state)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_one_name_in_paddle(name: str) -> None:
    model = MODELS[name]
    ours = build_network(model, device="meta").state_dict()
    keys = [pdparams.paddle_key(model, key) for key in ours if not key.endswith("num_batches_tracked")]
    assert sorted(keys) == sorted(key for key, _, _ in fill.rows(name))


def test_an_unknown_parameter_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        pdparams.paddle_key(MODELS["dpn68"], "features.conv9.weight")


# --- damaged files ---

WHOLE = {protocol: pickle.dumps({**STATE, NAME_TABLE: NAMES}, protocol) for protocol in (2, 4, 5)}


@pytest.mark.parametrize("protocol", WHOLE)
def test_a_pdparams_truncated_anywhere_is_an_error(protocol: int, tmp_path: Path) -> None:
    whole = WHOLE[protocol]
    for cut in range(len(whole)):
        with pytest.raises(WeightsError):
            read(write(tmp_path, whole[:cut]))


@pytest.mark.parametrize("protocol", WHOLE)
def test_a_changed_byte_gives_arrays_or_a_weights_error(protocol: int, tmp_path: Path) -> None:
    whole = WHOLE[protocol]
    for place in range(len(whole)):
        for flip in (0x01, 0x03, 0x20, 0xFF):
            _arrays_or_error(write(tmp_path, whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]))


@given(data=st.binary(max_size=200))
def test_any_bytes_give_arrays_or_a_weights_error(data: bytes, tmp_path: Path) -> None:
    _arrays_or_error(write(tmp_path, data))


@given(data=st.data())
def test_any_opcodes_give_arrays_or_a_weights_error(data: st.DataObject, tmp_path: Path) -> None:
    pieces = st.one_of(st.sampled_from(_PIECES), st.binary(max_size=3))
    _arrays_or_error(write(tmp_path, b"\x80\x04" + b"".join(data.draw(st.lists(pieces, max_size=30))) + b"."))


_PIECES = [
    *(opcode.code.encode("latin1") for opcode in pickletools.opcodes),
    *(b"c" + f"{module}\n{name}\n".encode() for module, name in pdparams._STAND_INS),
    *(b"\x8c" + bytes([len(text)]) + text for text in (b"data", b"f4", b"<", b"model", b"__call__", b"a.weight")),
    b"K\x01",
    b"N",
    b"}",
    b")",
    b"C\x04abcd",
]


def _arrays_or_error(path: Path) -> None:
    try:
        arrays = read(path)
    except WeightsError as error:
        assert str(error).startswith(f"{path}")
    else:
        assert all(isinstance(key, str) and isinstance(array, np.ndarray) for key, array in arrays.items())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty."),
        (b"<html>404</html>", "is truncated or not a .pdparams."),
        ([1, 2], "holds a list, not a state dict."),
        ({"a": 1.5}, "is not a state dict: its entry 'a' is not an array of floats."),
        ({"a": np.arange(3)}, "is not a state dict: its entry 'a' is not an array of floats."),
        ({"a": np.array([None])}, "is not a state dict: its entry 'a' is not an array of floats."),
        ({"a": np.zeros(2, "c8")}, "is not a state dict: its entry 'a' is not an array of floats."),
        ({"a": np.zeros(2, [("x", "f4")])}, "is not a state dict: its entry 'a' is not an array of floats."),
        ({1: np.zeros(2, "f4")}, "is not a state dict: its entry 1 is not an array of floats."),
        ({"a": {"b": np.zeros(2, "f4")}}, "is not a state dict: its entry 'a' is not an array of floats."),
        ({"a": np.float32(1)}, "is not a state dict: its entry 'a' is not an array of floats."),
    ],
)
def test_a_file_that_is_not_a_state_dict_is_an_error_with_the_reason(
    content: bytes | object, sentence: str, tmp_path: Path
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(WeightsError) as caught:
        read(path)
    assert str(caught.value) == f"{path} {sentence}"


# --- hostile files: `command` creates the canary if a shell runs it, `code` if Python evaluates it ---


class Calls:
    """An object whose pickle calls `function`."""

    def __init__(self, function: Any, *arguments: object, state: object = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


def short(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


ARRAY = "cnumpy.core.multiarray\n_reconstruct\n"
HOSTILE: dict[str, Callable[[str, str], bytes | object]] = {
    "os.system": lambda command, code: Calls(os.system, command),
    "os.system as text, protocol 0": lambda command, code: f"cos\nsystem\n(V{command}\ntR.".encode(),
    "subprocess": lambda command, code: Calls(subprocess.getoutput, command),
    "eval": lambda command, code: Calls(eval, code),
    "eval with a scope": lambda command, code: Calls(eval, code, {"data": STATE["b.bias"]}),
    "eval of code that says data": lambda command, code: Calls(eval, "data", {"data": code}),
    "exec": lambda command, code: Calls(exec, code),
    "getattr": lambda command, code: Calls(getattr, "x", "upper"),
    "__import__": lambda command, code: Calls(builtins.__import__, "antigravity"),
    "compile": lambda command, code: Calls(compile, code, "x", "exec"),
    "open": lambda command, code: Calls(open, command.split()[-1], "w"),
    "Python 2's builtins": lambda command, code: f"c__builtin__\nexecfile\n(V{code}\ntR.".encode(),
    "numpy's own loaders": lambda command, code: Calls(np.load, command.split()[-1], None, True),
    "numpy's test runner": lambda command, code: b"cnumpy.testing._private.utils\nrunstring\n(" + short(code) + b"}tR.",
    "a name with dots": lambda command, code: (
        b"\x80\x04" + short("collections") + short("OrderedDict.__init__.__globals__") + b"\x93."
    ),
    "a name with dots behind an allowed one": lambda command, code: (
        b"\x80\x04" + short("builtins") + short("eval.__self__.exec") + b"\x93(" + short(code) + b"tR."
    ),
    "INST": lambda command, code: f"(V{command}\nios\nsystem\n.".encode(),
    "INST of an allowed name": lambda command, code: f"(V{code}\n}}ibuiltins\neval\n.".encode(),
    "OBJ": lambda command, code: f"(cos\nsystem\nV{command}\no.".encode(),
    "OBJ of an allowed name": lambda command, code: f"(cbuiltins\neval\nV{code}\n}}o.".encode(),
    "NEWOBJ": lambda command, code: f"\x80\x02csubprocess\nPopen\n(V{command}\nt\x81.".encode("latin1"),
    "NEWOBJ of an allowed name": lambda command, code: b"\x80\x02cnumpy\nndarray\n(K\x01\x85t\x81.",
    "an array without content": lambda command, code: b"\x80\x02}" + short("a") + b"cnumpy\nndarray\n)\x81s.",
    "NEWOBJ_EX": lambda command, code: b"\x80\x04" + short("os") + short("popen") + b"\x93(" + short(command) + b"t}\x92.",
    "extension registry": lambda command, code: b"\x80\x02\x82\x7b(" + short(command) + b"tR.",
    "persistent id": lambda command, code: b"\x80\x02" + short(command) + b"Q.",
    "persistent id, protocol 0": lambda command, code: f"P{command}\n.".encode(),
    "out-of-band buffer": lambda command, code: b"\x80\x05\x97.",
    "state given to a function": lambda command, code: b"\x80\x02cbuiltins\neval\n}" + short("__call__") + b"Nsb.",
    "slots given to a function": lambda command, code: b"\x80\x02cbuiltins\neval\nN}" + short("__call__") + b"Ns\x86b.",
    "a class given to a function": lambda command, code: b"\x80\x02cbuiltins\neval\nN}" + short("__class__") + b"Ns\x86b.",
    "a call given to an array": lambda command, code: (
        b"\x80\x02" + ARRAY.encode() + b"(cnumpy\nndarray\nK\x00\x85" + short("b") + b"tRN}" + short("__class__") + b"Ns\x86b."
    ),
    "a method as an array's data": lambda command, code: b"\x80\x02" + ARRAY.encode() + b")R(K\x01K\x01\x85cos\nsystem\nNNtb.",
    "an object array": lambda command, code: {"a": np.array([Calls(os.system, command)], dtype=object)},
    "in a dtype's metadata": lambda command, code: {"a": Calls(np.dtype, "f4", state=(3, Calls(os.system, command)))},
    "a dtype of Python objects": lambda command, code: {"a": Calls(np.dtype, "O8", False, True)},
    "beside good weights": lambda command, code: {**STATE, "d": Calls(os.system, command)},
    "before good weights": lambda command, code: {"d": Calls(os.system, command), **STATE},
    "in the name table": lambda command, code: {**STATE, NAME_TABLE: Calls(os.system, command)},
    "in an optimizer": lambda command, code: {"model": STATE, "opt": Calls(os.system, command)},
    "as a key": lambda command, code: b"\x80\x02}cos\nsystem\n(" + short(command) + b"tRNs.",
    "after the end": lambda command, code: pickle.dumps([], 4) + pickle.dumps(Calls(os.system, command), 4),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_code_of_a_hostile_file_runs(kind: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    copyreg.add_extension("os", "system", 0x7B)
    try:
        path = write(tmp_path, HOSTILE[kind](f"touch {canary}", code))
        with pytest.raises(WeightsError):
            read(path)
    finally:
        copyreg.remove_extension("os", "system", 0x7B)
    assert not canary.exists()
    assert same(read(write(tmp_path, STATE)), STATE)  # and the next file is read as before


def test_the_hostile_pickles_do_run_in_pythons_unpickler(tmp_path: Path) -> None:
    """The files above are dangerous: Python's own unpickler runs their code."""
    canary = tmp_path / "canary"
    pickle.loads(write(tmp_path, HOSTILE["os.system"](f"touch {canary}", "")).read_bytes())
    assert canary.exists()


def test_the_error_names_the_function_that_a_hostile_file_asks_for(tmp_path: Path) -> None:
    path = write(tmp_path, Calls(os.system, "true"))
    with pytest.raises(WeightsError) as caught:
        read(path)
    asked = f"{os.system.__module__}.system"
    assert str(caught.value) == f"{path}: it is not a weights file: it asks for {asked}. None of its code was run."


# --- files that claim to be larger than they are ---


def eight(number: int) -> bytes:
    return number.to_bytes(8, "little")


BOMBS = {
    "bytes": b"\x80\x04\x8e" + eight(1 << 33),
    "a bytearray": b"\x80\x05\x96" + eight(1 << 33),
    "text": b"\x80\x04\x8d" + eight(1 << 33),
    "a frame": b"\x80\x04\x95" + eight(1 << 33),
    "an absurd frame": b"\x80\x04\x95" + eight(1 << 62),
    "a place in the memo": b"\x80\x02Nr" + (0x3FFFFFFF).to_bytes(4, "little"),
    "a shape": pickle.dumps({"a": np.zeros(7, "f4")}, 2).replace(b"K\x07\x85", b"J\xff\xff\xff\x7f\x85"),
    "text made of nested lists": (
        b"\x80\x02c_codecs\nencode\n" + short("x" * 99) + b"".join(b"(" + b"2" * 9 + b"l" for _ in range(9)) + b"\x85R."
    ),
    "a key made of nested tuples": b"\x80\x02}" + short("x" * 99) + b"".join(b"2222\x87" for _ in range(14)) + b"Ns.",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_forged_length_of_gigabytes_allocates_none(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, BOMBS[kind])
    program = f"""
from pathlib import Path
from trtzoo.core.errors import WeightsError
from trtzoo.models.pdparams import read
try:
    read(Path({str(path)!r}))
except WeightsError as error:
    assert len(str(error)) < 1000, len(str(error))
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert int(done.stdout) < 200_000  # KiB
