"""Read result files. A file that is not a result is skipped with a sentence that says why."""

from pathlib import Path

import msgspec

from trtzoo.benchmark.protocols import METRICS, PROTOCOLS, reported_latency
from trtzoo.core.errors import StoreError
from trtzoo.core.files import decode
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Result
from trtzoo.models.table import MODELS


class Found(msgspec.Struct, frozen=True):
    """A result and its file."""

    path: Path
    result: Result


def load_results(folder: Path) -> tuple[list[Result], list[str]]:
    """Return all results under folder/<device>/ in the files' order, and a sentence for each skipped file."""
    found, complaints = load_files(folder)
    return [row.result for row in found], complaints


def load_files(folder: Path) -> tuple[list[Found], list[str]]:
    """Return what `load_results` does, each result with its file. Of two files of one case, the newer counts."""
    newest: dict[tuple[str, str], Found] = {}
    complaints = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            here = Found(path, parse_result(path.read_bytes(), source=str(path)))
        except StoreError as error:
            complaints.append(str(error))
            continue
        except OSError as error:
            complaints.append(f"{path} cannot be read: {error.strerror}.")
            continue
        case = (here.result.device.key, here.result.case.name)
        if rival := newest.get(case):
            here, older = sorted((rival, here), key=_age, reverse=True)
            complaints.append(f"{older.path} is of the same case as {here.path}, which is newer.")
        newest[case] = here
    return sorted(newest.values(), key=lambda row: row.path), complaints


def _age(found: Found) -> tuple[str, bool, str]:
    """Sort by time of measurement; of equal results, the one in the case's own file counts as newer."""
    return found.result.started, found.path.stem == found.result.case.name, str(found.path)


class _AnyVersion(msgspec.Struct):
    """What a result file of any schema version has."""

    case: msgspec.Raw
    device: msgspec.Raw


def parse_result(data: bytes, *, source: str) -> Result:
    """Parse the bytes of a result file; `source` is its name for messages.

    Raises StoreError if it is damaged, has another schema version, or is not a result that can be shown.
    """
    try:
        msgspec.json.decode(data, type=_AnyVersion)
        result = decode(data, Result, name=source)
    except msgspec.ValidationError as error:
        raise StoreError(f"{source} is not a result file.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{source} is damaged: {error}.") from error
    if fault := _fault(result):
        raise StoreError(f"{source} {fault}.")
    return result


def metric_seconds(result: Result) -> list[float]:
    """Return the samples in seconds, by the protocol's metric."""
    metric = METRICS[PROTOCOLS[result.case.protocol].metric]
    return [metric(sample) for sample in result.samples]


def _fault(result: Result) -> str:
    """Describe why a readable result cannot be shown; empty if it can."""
    case = result.case
    for kind, known in (("model", MODELS), ("precision", PRECISIONS), ("protocol", PROTOCOLS)):
        if (name := getattr(case, kind)) not in known:
            return f"has the {kind} {name!r}, which this trtzoo does not know"
    if result.failure:
        return ""
    if not result.samples or min(sample.total for sample in result.samples) <= 0:
        return "is damaged: it has neither a failure nor samples with a positive time"
    try:
        latency = reported_latency(result)
    except ValueError as error:
        return f"is damaged: {error}"
    return "" if latency > 0 and case.batch > 0 else "is damaged: its latency or batch is not positive"
