"""Records, files, statistics, errors and the console: what every other folder builds on."""

from trtzoo.core.errors import MachineError, TrtzooError, UsageError
from trtzoo.core.precisions import PRECISIONS, find_precision
from trtzoo.core.records import Case, Device, Record, Result, Sample

__all__ = [
    "PRECISIONS",
    "Case",
    "Device",
    "MachineError",
    "Record",
    "Result",
    "Sample",
    "TrtzooError",
    "UsageError",
    "find_precision",
]
