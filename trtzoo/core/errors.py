"""The error tree. The command line prints the sentence and exits with the code; nobody else catches these.

TrtzooError            1  something failed; what was done before is kept
├── WeightsError       1  a checkpoint cannot be had, read or trusted
│   └── UnreachableError  a server cannot be reached or will not give the file
├── StoreError         1  a file of ours is missing, damaged or cannot be written
├── ExportError        1  a network cannot be written as a valid graph
├── BuildError         1  TensorRT cannot make an engine of a graph
├── RunError           1  an engine cannot be run
├── DataError          1  a data set cannot be used as it is
│   └── ImageError     1  one image of it cannot be read
├── WrongOutputError   1  a file or engine does not compute what its network computes
├── UsageError         2  the command asked for something that does not exist
└── MachineError       3  this machine cannot do it
"""

import difflib
from collections.abc import Iterable


class TrtzooError(Exception):
    """A sentence for the user: what happened, what is here, what to run."""

    exit_code = 1


class WeightsError(TrtzooError):
    """A checkpoint cannot be had, read or trusted."""


class UnreachableError(WeightsError):
    """A server cannot be reached or will not give the file."""


class StoreError(TrtzooError):
    """A file of ours is missing, damaged or cannot be written."""


class ExportError(TrtzooError):
    """A network cannot be written as a valid graph."""


class BuildError(TrtzooError):
    """TensorRT cannot make an engine of a graph."""


class RunError(TrtzooError):
    """An engine cannot be run, in the words of TensorRT or of the driver."""


class DataError(TrtzooError):
    """A data set cannot be used as it is."""


class ImageError(DataError):
    """One image cannot be read: `reason` is the sentence without its name."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"{name} cannot be read: {reason}.")
        self.reason = reason


class WrongOutputError(TrtzooError):
    """A file or engine does not compute what its network computes."""


class UsageError(TrtzooError):
    """The command asked for something that does not exist."""

    exit_code = 2


class MachineError(TrtzooError):
    """This machine cannot do it."""

    exit_code = 3


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is in no table: it suggests the nearest and lists the rest."""
    rows = list(known)
    near = difflib.get_close_matches(name.lower(), rows, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    return UsageError(f"There is no {kind} {name!r}.{guess} Known: {', '.join(rows)}.")
