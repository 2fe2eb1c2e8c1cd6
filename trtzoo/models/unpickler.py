"""Pickles of strangers: an unpickler that makes plain values, and what a table of stand-ins makes, within limits.

A pickle is a program. This one's operations make lists, tuples, dicts, texts and numbers; calls reach a stand-in or nothing.
What it may take is bounded by the file: the number of reads, what one read claims, and the bytes that stand-ins copy. The base
class is the unpickler written in Python, whose operations can be replaced.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

from trtzoo.core.decoding import UnreadableError

StandIns = Mapping[tuple[str, str], Callable[..., Any]]

MAX_READS = 1_000_000  # a checkpoint of DenseNet-264 with Adam's state takes 242,000
MAX_COPIES = 2  # times the file's bytes
LARGEST_KEY = 1 << 60  # from 2^61 - 1 on, many numbers can have one hash, and a dict of them takes hours


class RefusedError(Exception):
    """A file is no plain data; the text goes on after "it"."""


class Unpickler(pickle._Unpickler):
    """Reads one or more pickles from a file of `size` bytes. Raises RefusedError for what is not data, UnreadableError beyond a
    limit, and whatever damage causes.

    `stand_ins` are what the file may call, by module and name. Their results must not be larger than their arguments.
    """

    def __init__(self, file: IO[bytes], size: int, stand_ins: StandIns, *, encoding: str) -> None:
        super().__init__(cast(Any, _Source(file, size)), encoding=encoding)
        self.stand_ins, self._copied, self._limit = stand_ins, 0, MAX_COPIES * size + 1000
        self._items = 0

    def load(self) -> Any:
        self.memo: dict[int, Any] = {}  # of one pickle
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        if stand_in := self.stand_ins.get((module.replace("__builtin__", "builtins"), name)):
            return stand_in
        raise RefusedError(f"asks for {module}.{name}"[:200])

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedError("refers to objects outside the file")

    def call(self, function: Any, arguments: Any) -> Any:
        if not any(function is known for known in self.stand_ins.values()) or type(arguments) is not tuple:
            raise RefusedError("calls what is not a function")
        for argument in arguments:
            self.spend(argument)
        return function(*arguments)

    def spend(self, value: object) -> None:
        """Count what a stand-in may copy: a few bytes of the pickle can name a large value again and again."""
        if isinstance(value, str | bytes):
            self._copied += len(value)
        elif isinstance(value, list | tuple | dict):
            self._items += len(value)
        if self._copied > self._limit or self._items > MAX_READS:
            raise UnreadableError("it makes far more than it contains")


class _Source:
    """A file that an unpickler reads: no read claims more than is left, and there are not too many."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left, self._reads = file, size, 0

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise EOFError
        return self._count(self._file.read(size))

    def readline(self) -> bytes:
        return self._count(self._file.readline())

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        self._reads += 1
        if self._reads > MAX_READS:
            raise UnreadableError(f"it takes more than {MAX_READS:,} steps to read")
        return data


def mapping(items: Any = ()) -> dict[Any, Any]:
    """A stand-in for dict and OrderedDict."""
    return _filled({}, [part for pair in items for part in _pair(pair)])


def sequence(items: Any = ()) -> tuple[Any, ...]:
    """A stand-in for tuple."""
    if not isinstance(items, list | tuple):
        raise RefusedError("makes a tuple of something else than a list")
    return tuple(items)


def _pair(pair: Any) -> Any:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise RefusedError("makes a dict of something else than pairs")
    return pair


def _filled(target: Any, parts: list[Any]) -> dict[Any, Any]:
    """The dict with further keys and values, which alternate. Keys are texts and numbers: hashing others can take for ever."""
    if hasattr(type(target), "set_items"):  # a stand-in that ignores them
        return cast(dict[Any, Any], target)
    if type(target) is not dict or len(parts) % 2:
        raise RefusedError("is damaged")
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        if type(key) is not str and not (type(key) is int and abs(key) < LARGEST_KEY):
            raise RefusedError("has keys that are neither texts nor numbers")
        target[key] = value
    return target


# --- the operations that make more than a plain value ---


def _reduce(unpickler: Any) -> None:
    arguments = unpickler.stack.pop()
    unpickler.stack[-1] = unpickler.call(unpickler.stack[-1], arguments)


def _new_with_keywords(unpickler: Any) -> None:
    if unpickler.stack.pop() != {}:
        raise RefusedError("passes arguments by name")
    _reduce(unpickler)


def _object(unpickler: Any) -> None:
    function, *arguments = unpickler.pop_mark()
    unpickler.append(unpickler.call(function, tuple(arguments)))


def _instance(unpickler: Any) -> None:
    module, name = (unpickler.readline()[:-1].decode("ascii") for _ in range(2))
    function = unpickler.find_class(module, name)
    unpickler.append(unpickler.call(function, tuple(unpickler.pop_mark())))


def _build(unpickler: Any) -> None:
    """State of a stand-in that takes one; a dict's attributes, such as a state dict's `_metadata`, are ignored."""
    state, target = unpickler.stack.pop(), unpickler.stack[-1]
    if hasattr(type(target), "set_state"):
        for part in state if isinstance(state, tuple) else ():
            unpickler.spend(part)
        target.set_state(state)
    elif type(target) is not dict:
        raise RefusedError("changes an object that is not an array")


def _dict(unpickler: Any) -> None:
    unpickler.append(_filled({}, unpickler.pop_mark()))


def _set_items(unpickler: Any) -> None:
    parts = unpickler.pop_mark()
    _filled(unpickler.stack[-1], parts)


def _set_item(unpickler: Any) -> None:
    value, key = unpickler.stack.pop(), unpickler.stack.pop()
    _filled(unpickler.stack[-1], [key, value])


_REPLACED: dict[bytes, Callable[[Any], None]] = {
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _reduce,
    pickle.NEWOBJ_EX: _new_with_keywords,
    pickle.OBJ: _object,
    pickle.INST: _instance,
    pickle.BUILD: _build,
    pickle.DICT: _dict,
    pickle.SETITEMS: _set_items,
    pickle.SETITEM: _set_item,
    pickle.FRAME: lambda unpickler: unpickler.read(8),  # a hint to read ahead
    pickle.BYTEARRAY8: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
}
_LEFT_OUT = (
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),  # they reach objects that other code has registered
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)
Unpickler.dispatch = {
    **{code: run for code, run in pickle._Unpickler.dispatch.items() if bytes([code]) not in _LEFT_OUT},
    **{code[0]: run for code, run in _REPLACED.items()},
}
