"""`read_results`: the measured latencies of a folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from trtzoo.api.selection import Folder
from trtzoo.benchmark.protocols import reported_latency
from trtzoo.core.errors import MachineError
from trtzoo.core.records import Result
from trtzoo.core.statistics import summarise
from trtzoo.report.results import load_results

if TYPE_CHECKING:
    import pandas


class Results(tuple[Result, ...]):
    """Records of result files; `complaints` has a sentence for each file that was skipped."""

    complaints: tuple[str, ...]

    def __new__(cls, records: Iterable[Result], complaints: Iterable[str] = ()) -> "Results":
        self = super().__new__(cls, records)
        self.complaints = tuple(complaints)
        return self

    def to_pandas(self) -> "pandas.DataFrame":
        """A frame with one row per case, times in seconds; a failed case has its `failure` and no times.

        Raises MachineError where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MachineError("to_pandas needs pandas, which is not installed. Run: pip install pandas") from None
        return pandas.DataFrame([_row(record) for record in self])


def _row(record: Result) -> dict[str, Any]:
    row = asdict(record.case) | {
        "device": record.device.name,
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "weights": record.weights.source if record.weights else None,
        "started": record.started,
        "failure": record.failure.reason if record.failure else None,
    }
    if record.failure:
        return row
    return row | {"latency": reported_latency(record)} | asdict(summarise([sample.total for sample in record.samples]))


def read_results(results: Folder = "benchmarks") -> Results:
    """Read the result files of a folder; of two files of one case the newer counts.

    >>> import trtzoo
    >>> found = trtzoo.read_results("benchmarks")
    >>> [(record.case.model, record.case.batch) for record in found], found.complaints
    ([('dpn68', 1), ('dpn68', 4)], ())
    """
    return Results(*load_results(Path(results)))
