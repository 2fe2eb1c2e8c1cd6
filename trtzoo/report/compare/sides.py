"""Read one side of a comparison: result files, folders of them, or git revisions of either, as runs.

A side is a comma list; each part is an existing path, or `revision:path` as in git. Git gets argument lists and is asked for
objects by hash; names in a repository are only ever displayed.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from trtzoo.core.decoding import MAX_TEXT, read_file
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.records import EVALUATIONS, RUNS, VERDICTS, Result
from trtzoo.core.subprocesses import run_tool
from trtzoo.report.results import parse_result

Files = Iterator[tuple[str, Callable[[], bytes]]]
"""Names for messages, and functions that return the bytes. They raise OSError or StoreError."""


def read_side(text: str) -> tuple[list[Result], list[str]]:
    """Return the runs in a comma list, and a sentence for each skipped file.

    Raises UsageError for a part that does not exist, StoreError if git fails.
    """
    runs: list[Result] = []
    complaints = []
    known: dict[tuple[object, ...], str] = {}
    for part in [text] if _exists(text) else text.split(","):
        for name, read in _files(part.strip()):
            source = "".join(letter if letter.isprintable() else "?" for letter in name)
            try:
                result = parse_result(read, source=source)
            except StoreError as error:
                complaints.append(str(error))
                continue
            key = (result.case, result.device.key, result.started, result.samples)
            if key in known and not result.failure:
                complaints.append(f"{source} is a copy of {known[key]}: a run counts once.")
            else:
                known[key] = source
                runs.append(result)
    if not runs and not complaints:
        raise UsageError(f"{text} has no results. To measure: trtzoo bench --all --results FOLDER")
    return runs, complaints


def _files(part: str) -> Files:
    path, (revision, colon, _) = Path(part), part.partition(":")
    if _exists(part) and path.is_dir():
        for file in sorted(file for depth in ("*.json", "*/*.json", f"*/{RUNS}/*.json") for file in path.glob(depth)):
            if _wanted(file.relative_to(path).as_posix()) and file.is_file():
                yield str(file), partial(read_file, file)
    elif _exists(part):
        yield part, partial(read_file, path)
    elif not colon or not revision:
        raise UsageError(
            f"There is no {part or 'name between commas'}. Name a result file, a folder of them, or revision:path."
        )
    else:
        found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", part, missing=part).decode().strip()
        if _git("cat-file", "-t", found) == b"blob\n":
            yield part, partial(_blob, found)
            return
        for entry in filter(None, _git("ls-tree", "-r", "-z", found).decode(errors="replace").split("\0")):
            about, _, name = entry.partition("\t")
            mode, _, blob = about.split()
            if mode.startswith("100") and _wanted(name):
                yield f"{part.rstrip('/')}/{name}", partial(_blob, blob)


def _blob(name: str) -> bytes:
    """Return a file of git's by its hash. Raises StoreError if it is too large."""
    if (size := int(_git("cat-file", "-s", name))) > MAX_TEXT:
        raise StoreError(f"A file in git, {name[:12]}, has {size:,} bytes; the limit is {MAX_TEXT:,}.")
    return _git("cat-file", "blob", name)


def _exists(text: str) -> bool:
    return os.path.exists(text)  # noqa: PTH110 - Path.exists raises for a text that is too long for a file name


def _wanted(name: str) -> bool:
    """Whether it is FILE.json, DEVICE/FILE.json or DEVICE/runs/FILE.json, not hidden, and no evaluation's or verdict's."""
    parts = name.split("/")
    deep = len(parts) <= 2 or (len(parts) == 3 and parts[1] == RUNS)
    other = {EVALUATIONS, VERDICTS} & {*parts[:-1]}
    return deep and not other and name.endswith(".json") and not any(part.startswith(".") for part in parts)


def _git(*words: str, missing: str = "") -> bytes:
    """Return git's output. Raises UsageError if git does not know `missing`, StoreError if git fails or is not installed."""
    try:
        done = run_tool(["git", *words], capture_output=True)
    except FileNotFoundError as error:
        raise StoreError("git is not installed. Without it, only files and folders can be compared.") from error
    if done.returncode == 0:
        return bytes(done.stdout)
    said = " ".join(done.stderr.decode(errors="replace").split())
    if missing and "not a git repository" not in said:
        raise UsageError(f"There is no file or folder {missing}, and git does not know that revision and path.")
    raise StoreError(f"git cannot read it: {said}")
