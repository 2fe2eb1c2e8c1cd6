"""Read one side of a comparison: result files, folders of them, or git revisions of either, as runs.

A side is a comma list; each part is an existing path, or `revision:path` as in git. Git gets argument lists and is asked for
objects by hash; names in a repository are only ever displayed.
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
    """One result, and the name of its file for messages."""

    source: str
    result: Result


class Side(msgspec.Struct, frozen=True):
    """All runs of a side, and a sentence for each skipped file."""

    runs: tuple[Run, ...]
    complaints: tuple[str, ...]


def read_side(text: str) -> Side:
    """Read the runs in a comma list. Raises UsageError for a part that does not exist, StoreError if git fails."""
    runs: list[Run] = []
    complaints = []
    known: dict[tuple[object, ...], str] = {}
    for part in [text] if _exists(text) else text.split(","):
        for name, read in _files(part.strip()):
            source = "".join(letter if letter.isprintable() else "?" for letter in name)
            try:
                result = parse_result(read(), source=source)
            except StoreError as error:
                complaints.append(str(error))
                continue
            key = (result.case, result.device.key, result.started, result.samples)
            if key in known and not result.failure:
                complaints.append(f"{source} is a copy of {known[key]}: a run counts once.")
            else:
                known[key] = source
                runs.append(Run(source, result))
    if not runs and not complaints:
        raise UsageError(f"{text} has no results. To measure: trtzoo bench --all --results FOLDER")
    return Side(tuple(runs), tuple(complaints))


Files = Iterator[tuple[str, Callable[[], bytes]]]
"""Names for messages, and functions that return the bytes."""


def _files(part: str) -> Files:
    path, (revision, colon, _) = Path(part), part.partition(":")
    if _exists(part) and path.is_dir():
        for file in sorted(file for depth in ("*.json", "*/*.json", f"*/{RUNS}/*.json") for file in path.glob(depth)):
            if _wanted(file.relative_to(path).as_posix()) and file.is_file():
                yield str(file), partial(_bytes, file)
    elif _exists(part):
        yield part, partial(_bytes, path)
    elif colon and revision:
        yield from _committed(part)
    else:
        raise UsageError(
            f"There is no {part or 'name between commas'}. Name a result file, a folder of them, or revision:path."
        )


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for a file name, or not a valid one
        return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error


def _wanted(name: str) -> bool:
    """Return whether the name is FILE.json, DEVICE/FILE.json or DEVICE/runs/FILE.json, and not hidden."""
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
    """Return git's output. Raises UsageError if git does not know `missing`, StoreError if git fails or is not installed."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise StoreError("git is not installed. Without it, only files and folders can be compared.") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.decode(errors="replace").split())
    if missing and "not a git repository" not in said:
        raise UsageError(f"There is no file or folder {missing}, and git does not know that revision and path.")
    raise StoreError(f"git cannot read it: {said}")
