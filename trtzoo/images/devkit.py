"""`meta.mat` of ImageNet's devkit: the numbers of its classes and their synsets.

SciPy reads it in a child process, because its reader may crash on a damaged file.
"""

from pathlib import Path

from trtzoo.core.errors import DataError
from trtzoo.core.subprocesses import ChildError, module_command, run_child, serve

LONGEST = 60.0  # seconds; the devkit's own file takes one


def read_synsets(meta: Path) -> dict[int, str]:
    """The names of the synsets that are leaves of the tree, by class number. Raises DataError if the file has none."""
    command = module_command("trtzoo.images.devkit")
    try:
        found = run_child(command, str(meta), answer=dict[int, str], timeout=LONGEST, name="SciPy's reader")
    except ChildError as error:
        raise DataError(f"{meta} is not a file of the devkit ({error}).") from error
    if not found:
        raise DataError(f"{meta} is not a file of the devkit (it names no classes).")
    return found


def _read(meta: str) -> dict[int, str]:
    from scipy.io import loadmat

    try:
        rows = loadmat(meta, squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if not int(row["num_children"])}
    except Exception as error:  # SciPy's errors have no common base
        raise DataError(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    serve(str, lambda meta, report, stopped: _read(meta))
