"""The boundary: JSON, TOML and lists of names are decoded here, whoever wrote them, within limits or not at all.

What a field may hold is checked by its record (`__post_init__`). Here are the limits of every text: bytes, depth, the size of
numbers and texts, encoding.
"""

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

MAX_TEXT = 1 << 28  # bytes of a JSON file or a list; a result with a million samples has 100 MB
MAX_DEPTH = 8  # records have 4
MAX_INTEGER, MAX_FLOAT = (1 << 63) - 1, 1e18
MAX_STRING = 1 << 16  # characters; the longest texts are errors of a runtime
MAX_ITEMS = 10_000_000
MAX_LINE = 4096  # characters of a line of a list: the longest path of a file

CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # without tab


class UnreadableError(ValueError):
    """Bytes that are not what they should be; the text says why, without the file's name."""


def _value(depth: int) -> Any:
    """The type of a JSON value within the limits, whose lists and objects are nested at most `depth` levels."""
    text = Annotated[str, Meta(max_length=MAX_STRING)]
    integer = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    number = Annotated[float, Meta(ge=-MAX_FLOAT, le=MAX_FLOAT)]
    scalar = text | integer | number | bool | None
    if not depth:
        return scalar
    inner: Any = _value(depth - 1)
    items = Meta(max_length=MAX_ITEMS)
    return scalar | Annotated[list[inner], items] | Annotated[dict[text, inner], items]


_JSON = msgspec.json.Decoder(_value(MAX_DEPTH))


def decode_json(data: bytes) -> Any:
    """JSON as plain values. Raises UnreadableError if it is damaged or exceeds a limit."""
    return _decoded(_JSON.decode, data)


def decode_toml(data: bytes) -> Any:
    """TOML as plain values, without dates. Raises UnreadableError if it is damaged or exceeds a limit, those of JSON."""
    return _decoded(lambda text: msgspec.convert(msgspec.toml.decode(text), _value(MAX_DEPTH)), data)


def _decoded(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        deep = isinstance(error, RecursionError) or "got `array`" in str(error) or "got `object`" in str(error)
        raise UnreadableError("it is nested too deeply" if deep else shorten(str(error), 200)) from error


def convert(value: Any, kind: type[T]) -> T:
    """Plain values as a record or another type. Raises UnreadableError if they do not fit, with the place."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise UnreadableError(shorten(str(error), 200)) from error


def read_file(path: Path, limit: int = MAX_TEXT) -> bytes:
    """A regular file's bytes. Raises OSError for anything else, such as a FIFO or a device, and for more than `limit` bytes."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a FIFO would wait for its writer
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes; the limit is {limit:,}", str(path))
        return file.read(found.st_size)  # `read(limit)` would allocate the limit


def read_lines(path: Path) -> list[str]:
    """The lines of a list, UTF-8, without the blank ones at its end. Raises OSError, and UnreadableError for any other file."""
    try:
        text = read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError("it is not a text file in UTF-8") from error
    lines = [line.removesuffix("\r") for line in text.rstrip().split("\n")] if text.strip() else []
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise UnreadableError(f"line {number} has {len(line):,} characters; the limit is {MAX_LINE:,}")
        if found := CONTROLS.search(line):
            raise UnreadableError(f"line {number} has the control character {found[0]!r}")
    return lines
