"""Mutators of bytes, lines and JSON: each takes a valid file and returns a damaged or hostile one.

A JSON mutator changes places of the parsed document and writes it again; what Python's encoder cannot write (NaN, 5000 digits,
lone surrogates, duplicate names) is put in as text afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

CORPUS = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").iterdir())}
"""Small valid files of each format, by name."""

MARK = "\N{LATIN SMALL LETTER O WITH STROKE}raw"

NUMBERS = (
    "0",
    "-0.0",
    "1",
    "-1",
    "0.5",
    "5e-324",
    "1e-300",
    "1e-12",
    "1e-9",
    "3e5",
    "1e18",
    "1e19",
    "1e308",
    "-1e308",
    "1e999",
)
NUMBERS += ("NaN", "Infinity", "-Infinity", "1e", "01", "9" * 5000, "-" + "9" * 5000, "0." + "9" * 5000, "9" * 400)
NUMBERS += tuple(str(2**power + step) for power in (8, 31, 32, 53, 63, 64) for step in (-1, 0, 1))
TEXTS = (
    "",
    " ",
    ".",
    "..",
    "../../x",
    "/etc/passwd",
    "a/b",
    "C:\\x",
    "x" * 300,
    "x" * 70_000,
    "\x1b[2J\x1b]0;x\x07",
    "a\nb\r\nc",
)
TEXTS += (
    "<script>alert(1)</script>",
    "</script><!--",
    "=cmd|'/c calc'!A1",
    "@SUM(A1)",
    "-1+1",
    "[x](javascript:1)",
    "| a | b |",
)
TEXTS += (
    "\\input{/etc/passwd}",
    "$x$ % & # _ ^ ~",
    "{0}{row.x}%s%(x)s",
    "\0",
    "\u202e\u2066",
    "\u2028",
    "\ufeff",
    "\U0001f600",
    "ü" * 200,
)
TEXTS += (
    "1",
    "nan",
    "b1",
    "fp16",
    "fp8",
    "cpu",
    "gpu",
    "dynamic",
    "2026-11-01",
    "0001-01-01",
    "9999-12-31T23:59:59+00:00",
    "; rm -rf ~",
)
RAW = (
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\x"',
    '"',
    "[" * 20,
    "[" * 9 + "]" * 9,
    "[" * 5000,
    '{"a":' * 5000,
    "{}",
    "[]",
)
RAW += (
    "[[]]",
    "[1,2,3,4,5,6]",
    "null",
    "true",
    "false",
    '{"schema":1}',
    '{"":""}',
    "[" + "0," * 3000 + "0]",
    '{"a":1,"a":2}',
    "",
)

Path_ = tuple[Any, ...]


def hostile(random: Random) -> str:
    """JSON text of a value that a field does not expect."""
    kind = random.randrange(3)
    return (random.choice(NUMBERS), json.dumps(random.choice(TEXTS)), random.choice(RAW))[kind]


# --- bytes ---


def flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def truncate(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def splice(data: bytes, random: Random) -> bytes:
    """A part of a file in another one."""
    other, at = random.choice(list(CORPUS.values())), random.randrange(len(data) + 1)
    start = random.randrange(len(other) + 1)
    return data[:at] + other[start : start + random.randrange(1, 200)] + data[at + random.randrange(100) :]


def repeat(data: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(data) + 1), random.randrange(1, 50)
    return data[:at] + data[at : at + length] * random.choice((2, 3, 100)) + data[at + length :]


def insert(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    given = random.choice((hostile(random).encode("utf-8", "surrogatepass"), random.randbytes(random.randrange(9))))
    return data[:at] + given + data[at:]


BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (flip, truncate, splice, repeat, insert)


def lines(data: bytes, random: Random) -> bytes:
    """Lines removed, repeated, swapped, joined, or with a hostile text."""
    rows = data.split(b"\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(rows))
        match random.randrange(6):
            case 0:
                rows.insert(at, rows[at])
            case 1 if len(rows) > 1:
                del rows[at]
            case 2:
                rows.insert(random.randrange(len(rows)), rows.pop(at))
            case 3:
                rows[at] = random.choice(TEXTS).encode() + random.choice((b"", b" 1", b" -1", b" 99999999999"))
            case 4:
                words = rows[at].split(b" ")
                words[random.randrange(len(words))] = random.choice((*NUMBERS, *TEXTS)).encode()
                rows[at] = b" ".join(words)
            case _:
                rows[at] += random.choice((b"\r", b"\0", b"\xff", b"\xc2\x85", b"\t", b" "))
    return b"\n".join(rows)


# --- JSON ---


def places(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    """The path of every value in a document, the whole one's first."""
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def look(value: Any, at: Path_) -> Any:
    for key in at:
        value = value[key]
    return value


def document(data: bytes, random: Random) -> bytes:
    """A document with one to four values replaced, removed, scaled, exchanged or written twice."""
    try:
        value = json.loads(data)
    except ValueError:
        return insert(data, random)
    raw: list[str] = []

    def put(text: str) -> str:
        raw.append(text)
        return f"{MARK}{len(raw) - 1};"

    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.choice(list(places(value)))
        if not at:
            continue
        parent, key = look(value, at[:-1]), at[-1]
        match random.randrange(8):
            case 0:
                del parent[key]
            case 1 if isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
                parent[key] = parent[key] * random.choice((-1, 0.1, 10, 1000, 1e6, 1e-6)) + random.choice((0, 0, 1, -1))
            case 2:
                parent[key] = deepcopy(look(value, random.choice(list(places(value)))))  # no cycles, no shared parts
            case 3 if isinstance(parent, dict):
                parent[random.choice((*parent, "x", "__class__", "a" * 300))] = parent.pop(key)
            case 4 if isinstance(parent, dict):
                parent[put(f"{json.dumps(key)}: {hostile(random)}, {json.dumps(key)}")] = parent.pop(key)
            case 5 if isinstance(parent, list):
                parent *= random.choice((2, 3, 50))
            case _:
                parent[key] = put(hostile(random))
    text = json.dumps(value, indent=random.choice((None, 2)), ensure_ascii=False)
    for number, given in enumerate(raw):
        text = text.replace(f'"{MARK}{number};"', given)
    return text.encode("utf-8", "surrogatepass")


def mutate(name: str, random: Random) -> bytes:
    """The file of CORPUS called `name`, damaged: by its format for the most part, else by bytes."""
    own = (
        document if name.endswith(".json") else lines if name.endswith((".txt", ".journal", ".toml")) else random.choice(BYTES)
    )
    data = CORPUS[name]
    if name.endswith(".journal") and random.random() < 0.5:
        rows = data.splitlines(keepends=True)
        at = random.randrange(len(rows))
        rows[at] = document(rows[at], random) + b"\n"
        return b"".join(rows)
    return own(data, random) if random.random() < 0.8 else random.choice(BYTES)(data, random)
