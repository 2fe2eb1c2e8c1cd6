"""The errors that a user sees; the command line catches them once, prints the sentence and exits with `exit_code`."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Row = TypeVar("Row")


class TrtzooError(Exception):
    """A sentence for the user: what failed, what is here, what to run."""

    exit_code = 1


class WeightsError(TrtzooError):
    """A checkpoint is missing, unreadable or unsafe."""


class UnreachableError(WeightsError):
    """A server is unreachable or refuses the file."""


class StoreError(TrtzooError):
    """A file of trtzoo's is missing, damaged or cannot be written."""


class MissingError(StoreError):
    """There is no such file."""


class ExportError(TrtzooError):
    """A network has no valid ONNX graph."""


class BuildError(TrtzooError):
    """TensorRT cannot build an engine from a graph."""


class RunError(TrtzooError):
    """An engine cannot be run; the message quotes TensorRT or the driver."""


class DataError(TrtzooError):
    """A data set is unusable."""


class ClassesError(DataError):
    """The images' class names are not the network's."""


class ImageError(DataError):
    """One image is unreadable; `reason` is the sentence without the image's name."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"{name} cannot be read: {reason}.")
        self.reason = reason


class WrongOutputError(TrtzooError):
    """A file or engine computes something else than its network."""


class UsageError(TrtzooError):
    """The command names something that does not exist."""

    exit_code = 2


class MachineError(TrtzooError):
    """This machine cannot do it."""

    exit_code = 3


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a table: it suggests the nearest name and lists all."""
    rows = list(known)
    near = difflib.get_close_matches(name.lower(), rows, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    return UsageError(f"There is no {kind} {name!r}.{guess} Known: {', '.join(rows)}.")


def find_row(kind: str, name: str, rows: Mapping[str, Row]) -> Row:
    """The row called `name`, in any case. Raises UsageError, with the nearest name, if there is none."""
    if row := rows.get(name.lower()):
        return row
    raise unknown(kind, name, rows)
