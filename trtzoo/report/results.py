"""Result files → results. What is not a result is named with its reason and skipped; the rest is shown."""

from pathlib import Path

import msgspec

from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.core.errors import StoreError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import SCHEMA, Result
from trtzoo.models.table import MODELS


class Found(msgspec.Struct, frozen=True):
    """A result and its file."""

    path: Path
    result: Result


def load_results(folder: Path) -> tuple[list[Result], list[str]]:
    """All results under folder/<device>/, in the files' order, and a sentence for each file that was skipped."""
    found, complaints = load_files(folder)
    return [row.result for row in found], complaints


def load_files(folder: Path) -> tuple[list[Found], list[str]]:
    """As `load`, each result with its file. Of two files of one case the newer counts."""
    newest: dict[tuple[str, str], Found] = {}
    complaints = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            here = Found(path, read_result(path))
        except StoreError as error:
            complaints.append(str(error))
            continue
        case = (here.result.device.key, here.result.case.name)
        if rival := newest.get(case):
            here, older = sorted((rival, here), key=_age, reverse=True)
            complaints.append(f"{older.path} is of the same case as {here.path}, which counts: it is the newer.")
        newest[case] = here
    return sorted(newest.values(), key=lambda row: row.path), complaints


def read_result(path: Path) -> Result:
    """One result file. Raises StoreError where it cannot be read, is damaged, of another schema, or not a result at all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_result(data, where=str(path))


def parse_result(data: bytes, *, where: str) -> Result:
    """The text of a result file. Raises StoreError as `read` does."""
    try:
        result = msgspec.json.decode(data, type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{where} {_foreign(data) or f'is damaged: {error}'}.") from error
    if fault := _foreign(data) if result.schema != SCHEMA else _fault(result):
        raise StoreError(f"{where} {fault}.")
    return result


def _foreign(data: bytes) -> str:
    """What JSON that is no result of this version is, as a predicate; nothing for text that is no JSON."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return "is not a result file"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    schema = bytes(fields.get("schema", msgspec.Raw(b"1")))
    if "case" not in fields or "device" not in fields:
        return "is not a result file"
    return "" if schema == str(SCHEMA).encode() else f"has schema version {schema.decode()}; this trtzoo reads version {SCHEMA}"


def _fault(result: Result) -> str:
    """Why a readable result cannot be shown, as a predicate; nothing for one that can."""
    case = result.case
    for kind, name, known in (
        ("network", case.model, MODELS),
        ("precision", case.precision, PRECISIONS),
        ("protocol", case.protocol, PROTOCOLS),
    ):
        if name not in known:
            return f"is of a {kind} {name!r} that this trtzoo does not know"
    if result.failure:
        return ""
    if not result.samples or min(sample.total for sample in result.samples) <= 0:
        return "is damaged: it has neither a failure nor samples of a positive time"
    try:
        told = reported_latency(result)
    except ValueError as error:
        return f"is damaged: {error}"
    return "" if told > 0 and case.batch > 0 else "is damaged: its latency or batch is not positive"


def _age(found: Found) -> tuple[str, bool, str]:
    """Sorts by when it was measured; of equals the one under its own name, then by name."""
    return found.result.started, found.path.stem == found.result.case.name, str(found.path)
