"""Shell completion from the rows of our tables; it imports no framework."""

from collections.abc import Callable, Iterable

from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.precisions import PRECISIONS
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.sources import PUBLISHERS
from trtzoo.models.table import MODELS
from trtzoo.report.tables.formats import FORMATS
from trtzoo.runtimes.registry import AUTO, RUNTIMES

Complete = Callable[[str], list[str]]


def one_of(names: Iterable[str]) -> Complete:
    """A function that completes a name."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def list_of(names: Iterable[str]) -> Complete:
    """A function that completes the last name of a comma list with a new one."""

    def complete(incomplete: str) -> list[str]:
        *said, last = incomplete.split(",")
        return [",".join([*said, name]) for name in names if name.startswith(last) and name not in said]

    return complete


model = one_of(MODELS)
weights = one_of([*PUBLISHERS, "seeded"])
runtime = one_of([AUTO, *RUNTIMES])
form = one_of(FORMATS)
gpu = one_of(["auto", *GPUS])
device = one_of(["auto", "cpu", *GPUS])
precision = one_of(PRECISIONS)
precisions = list_of(PRECISIONS)
protocols = list_of(PROTOCOLS)
