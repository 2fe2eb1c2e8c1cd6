"""What stands on one side of a comparison: result files, folders of them, or git revisions of either, as runs.

A side is a comma list; each part is a path that is there, or `revision:path` as git writes it. Git is given argument lists
and is asked for objects by their hashes; names out of a repository are only ever shown.
"""

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.records import RUNS, Result
from trtzoo.report.results import parse_result


class Run(msgspec.Struct, frozen=True):
    """One result, and the file it came from, for people."""

    where: str
    result: Result


class Side(msgspec.Struct, frozen=True):
    """All runs of a side, and a sentence for each file that is none."""

    runs: tuple[Run, ...]
    complaints: tuple[str, ...]


def read_side(text: str) -> Side:
    """The runs that a comma list names. Raises UsageError for a part that is nothing, StoreError where git fails."""
    runs: list[Run] = []
    complaints = []
    known: dict[tuple[object, ...], str] = {}
    for part in [text] if _there(text) else text.split(","):
        for name, fetch in _files(part.strip()):
            where = "".join(letter if letter.isprintable() else "?" for letter in name)
            try:
                result = parse_result(fetch(), source=where)
            except StoreError as error:
                complaints.append(str(error))
                continue
            key = (result.case, result.device.key, result.started, result.samples)
            if key in known and not result.failure:
                complaints.append(f"{where} is a copy of {known[key]}: a run counts once.")
            else:
                known[key] = where
                runs.append(Run(where, result))
    if not runs and not complaints:
        raise UsageError(f"{text} has no results. To measure: trtzoo bench --all --results FOLDER")
    return Side(tuple(runs), tuple(complaints))


Files = Iterator[tuple[str, Callable[[], bytes]]]
"""Names for people, and what gives the bytes."""


def _files(part: str) -> Files:
    path, (revision, colon, _) = Path(part), part.partition(":")
    if _there(part) and path.is_dir():
        for file in sorted(file for depth in ("*.json", "*/*.json", f"*/{RUNS}/*.json") for file in path.glob(depth)):
            if _wanted(file.relative_to(path).as_posix()) and file.is_file():
                yield str(file), partial(_bytes, file)
    elif _there(part):
        yield part, partial(_bytes, path)
    elif colon and revision:
        yield from _committed(part)
    else:
        raise UsageError(f"There is no {part or 'name between commas'}. Say a result file, a folder of them, or revision:path.")


def _there(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error


def _wanted(name: str) -> bool:
    """FILE.json, DEVICE/FILE.json and DEVICE/runs/FILE.json, which no half-written and no hidden file is."""
    parts = name.split("/")
    deep = len(parts) <= 2 or (len(parts) == 3 and parts[1] == RUNS)
    return deep and name.endswith(".json") and not any(part.startswith(".") for part in parts)


# --- git ---


def _committed(part: str) -> Files:
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", part, missing=part).decode().strip()
    if _git("cat-file", "-t", found) == b"blob\n":
        yield part, partial(_git, "cat-file", "blob", found)
        return
    for entry in filter(None, _git("ls-tree", "-r", "-z", found).split(b"\0")):
        about, _, name = entry.partition(b"\t")
        mode, _, blob = about.decode().split()
        shown = name.decode(errors="replace")
        if mode.startswith("100") and _wanted(shown):
            yield f"{part.rstrip('/')}/{shown}", partial(_git, "cat-file", "blob", blob)


def _git(*words: str, missing: str = "") -> bytes:
    """What git prints. Raises UsageError where it does not know `missing`, StoreError where it fails or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise StoreError("git is not installed; without it only files and folders are compared.") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.decode(errors="replace").split())
    if missing and "not a git repository" not in said:
        raise UsageError(f"There is no file or folder {missing}, and git knows no such revision and path.")
    raise StoreError(f"git cannot read it: {said}")
