"""Results: read from files, grouped by what shares a table, and described in phrases that tables, page and figures share.

A file that is not a result is skipped with a sentence that says why.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path

import msgspec

from trtzoo.benchmark.protocols import PROTOCOLS, reported_latency
from trtzoo.core.decoding import UnreadableError, decode_json, read_file
from trtzoo.core.errors import StoreError
from trtzoo.core.files import as_record
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import SHORTEST, Case, Device, GpuSettings, Identity, Result, Weights
from trtzoo.hardware.gpus import GPUS, Gpu
from trtzoo.models.table import MODELS, TIMM, Model, zoo
from trtzoo.report.published import document, printed_batches

CONDITIONS = {"graph": "CUDA graph", "plain": "no CUDA graph", "block": "blocking wait", "flush": "L2 flushed"}
"""The words for a case's conditions, other than a number of threads."""


OTHER = "other"  # the family of networks of which only the file is known


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
    newest: dict[tuple[str, ...], Found] = {}
    complaints = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            here = Found(path, parse_result(partial(read_file, path), source=str(path)))
        except StoreError as error:
            complaints.append(str(error))
            continue
        case = (here.result.device.key, here.result.name, here.result.subject.row[2])
        if rival := newest.get(case):
            here, older = sorted((rival, here), key=_age, reverse=True)
            complaints.append(f"{older.path} is of the same case as {here.path}, which is newer.")
        newest[case] = here
    return sorted(newest.values(), key=lambda row: row.path), complaints


def _age(found: Found) -> tuple[str, bool, str]:
    """Sort by time of measurement; of equal results, the one in the case's own file counts as newer."""
    return found.result.started, found.path.stem == found.result.name, str(found.path)


def parse_result(read: Callable[[], bytes], *, source: str) -> Result:
    """Parse a result file, whose bytes `read` returns; `source` is its name for messages.

    Raises StoreError if it cannot be read, is damaged, has another schema version, or is not a result that can be shown.
    """
    try:
        value = decode_json(read())
    except OSError as error:
        raise StoreError(f"{source} cannot be read: {error.strerror}.") from error
    except UnreadableError as error:
        raise StoreError(f"{source} is damaged: {error}.") from error
    if not isinstance(value, dict) or not {"case", "device"} <= value.keys():  # a result file of any schema has them
        raise StoreError(f"{source} is not a result file.")
    result = as_record(value, Result, name=source)
    if fault := _fault(result):
        raise StoreError(f"{source} {fault}.")
    return result


def _fault(result: Result) -> str:
    """Describe why a readable result cannot be shown; empty if it can."""
    case, subject = result.case, result.subject
    for name, here, there in (("model", case.model, subject.model), ("device", case.device, result.device.key)):
        if here != there:
            return f"is damaged: its case is of the {name} {here!r}, and its {name} is {there!r}"
    names = {"precision": case.precision, "protocol": case.protocol}
    for kind, known in (("precision", PRECISIONS), ("protocol", PROTOCOLS)):
        if names[kind] not in known:
            return f"has the {kind} {names[kind]!r}, which this trtzoo does not know"
    if result.failure:
        return ""
    if not result.samples:
        return "is damaged: it has neither a failure nor samples"
    try:
        latency = reported_latency(result)
    except ValueError as error:
        return f"is damaged: {error}"
    return "" if latency >= SHORTEST else "is damaged: its latency is not positive"


# --- groups ---

Row = tuple[str, str, str]
"""What a row of a table is about: Identity.row."""


def zoo_row(identity: Identity) -> Model | None:
    """Return the row of the zoo in use that this network is, or None."""
    row = zoo().get(identity.model)
    return row if row and row.network == identity.network else None


def family_of(identity: Identity) -> str:
    """Return the family of a network: its row's, timm, or other."""
    row = zoo_row(identity) or MODELS.get(identity.network)
    return row.family if row else TIMM if identity.network.startswith(f"{TIMM}:") else OTHER


def place(identity: Identity) -> tuple[int, Row]:
    """Sort networks in the order of the zoo, and those that are not in it below."""
    return list(zoo()).index(identity.model) if zoo_row(identity) else len(zoo()), identity.row


class Group(msgspec.Struct, frozen=True):
    """Results of one device, precision, protocol and conditions; of one runtime, or all that trials selected.

    `gpu` is the GPU with published latencies of this precision that they are of, or empty; `name` describes them. `results` has
    the newest good result by Identity.row and batch; `older` maps its name to a note on the results left out.
    """

    precision: str
    gpu: str = ""
    protocol: str = ""
    short: str = "here"
    name: str = ""
    results: dict[tuple[Row, int], Result] = {}
    older: dict[str, str] = {}

    @property
    def subjects(self) -> dict[Row, str]:
        """The rows that have results, the zoo's first, and their titles; networks of one name have what differs in it."""
        known = {result.subject.row: result.subject for result in self.results.values()}
        names = Counter(identity.title for identity in known.values())
        ordered = sorted(known.values(), key=place)
        return {
            each.row: f"{each.title} [{each.row[2] or each.tag}]" if names[each.title] > 1 else each.title for each in ordered
        }


def groups(results: Iterable[Result]) -> list[Group]:
    """Group results by device, runtime, protocol, conditions and precision, FP32 first."""

    def key(result: Result) -> tuple[object, ...]:
        case = result.case
        kind = (result.device.key, _runtime(result), case.protocol, case.conditions)
        return (*kind, case.precision != "fp32", case.precision)

    return [_group(list(members)) for _, members in groupby(sorted(results, key=key), key=key)]


def _group(members: list[Result]) -> Group:
    newest: dict[tuple[Row, int], Result] = {}
    older: dict[str, str] = {}
    for result in sorted(members, key=lambda result: (not result.failure, result.started, result.name)):
        cell = (result.subject.row, result.case.batch)
        if past := newest.get(cell):
            older[result.name] = _left_out(past, result)
        newest[cell] = result
    case, device = members[0].case, members[0].device
    gpu = known_gpu(device)
    published = gpu.name if gpu and printed_batches(gpu.name, case.precision) else ""
    parts = [device.title if device.kind == "gpu" else device_text(device), _runtime(members[0])]
    parts += ["" if case.protocol == "trtzoo" else case.protocol]
    parts += condition_texts(case)
    name = ", ".join(filter(None, parts))
    short = gpu.title if gpu else "CPU" if device.kind == "cpu" else device.name
    return Group(case.precision, published, case.protocol, short, name, newest, older)


def _left_out(past: Result, shown: Result) -> str:
    """Describe a result of a cell that another one stands for."""
    if past.failure and past.started > shown.started:
        return f"the newest measurement of this cell failed ({past.failure.kind}: {past.failure.reason}); this one is older"
    what = [f"by {past.case.runtime}"] if past.case.runtime != shown.case.runtime else []
    what += [f"with {weights_text(past.weights)}"] if past.weights != shown.weights and past.weights else []
    return f"an older result of this cell, {' '.join(what) or 'of another kind'}, is left out"


def known_gpu(device: Device) -> Gpu | None:
    """Return the GPU's row, or None if no card has exactly this name: then nothing is shown as measured on a published GPU."""
    return next((row for row in GPUS.values() if device.kind == "gpu" and device.name in row.names), None)


def ratio_to_published(result: Result) -> float | None:
    """Return measured / published, if this good result is of the published GPU and measured as the publisher did."""
    gpu, case = known_gpu(result.device), result.case
    printed = document().seconds(gpu.name, case.precision, case.model, case.batch) if gpu else None
    if not printed or not result.subject.published or result.failure or not PROTOCOLS[case.protocol].as_published:
        return None
    return reported_latency(result) / printed


def _runtime(result: Result) -> str:
    """Return the runtime, or "auto" if a trial selected it."""
    return "auto" if result.selection_reason else result.case.runtime


# --- phrases ---


def device_text(device: Device) -> str:
    """Describe a device, and what distinguishes it from another with its name."""
    return f"{device.name}, {device.cores} cores" if device.kind == "cpu" else f"{device.title}, driver {device.driver}"


def gpu_settings_facts(settings: GpuSettings | None) -> dict[str, str]:
    """Describe a GPU's settings, those that are known."""
    known = settings or GpuSettings()
    clocks = {"SM": known.max_sm_clock, "memory": known.max_memory_clock}
    applications = {"SM": known.application_sm_clock, "memory": known.application_memory_clock}
    link = (known.pcie_generation, known.pcie_width)
    facts = {
        "power limit": _with_usual("{:.0f} W", (known.power_limit,), "default", (known.default_power_limit,)),
        "highest clocks": _clocks_text(clocks),
        "application clocks": _clocks_text(applications),
        "ECC": known.ecc,
        "persistence mode": known.persistence_mode,
        "compute mode": known.compute_mode,
        "MIG": known.mig,
        "PCIe link": _with_usual("generation {} x{}", link, "at most", (known.max_pcie_generation, known.max_pcie_width)),
    }
    return {name: text for name, text in facts.items() if text}


def _with_usual(form: str, values: tuple[object, ...], word: str, usual: tuple[object, ...]) -> str:
    """Describe values, and the usual ones if those are others; empty if the values are unknown."""
    if None in values:
        return ""
    return form.format(*values) + ("" if None in usual or usual == values else f" ({word} {form.format(*usual)})")


def _clocks_text(clocks: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {hertz / 1e6:.0f} MHz" for name, hertz in clocks.items() if hertz)


def pairs_text(pairs: Mapping[str, str], separator: str = " ") -> str:
    """List names and values, such as versions."""
    return separator.join(f"{name} {value}" for name, value in pairs.items())


def condition_texts(case: Case) -> list[str]:
    """Describe the conditions that set a case apart."""
    threads = f"{case.threads} thread{'' if case.threads == 1 else 's'}"
    return [CONDITIONS.get(name, threads) for name in case.conditions]


def protocol_text(name: str) -> str:
    """Describe a protocol: its statistic, metric and loop."""
    row = PROTOCOLS[name]
    return f"{name}: {row.statistic} of {row.metric}; {row.note}"


def weights_text(weights: Weights | None) -> str:
    """Describe the source of the weights, with a warning for seeded ones."""
    if weights is None:
        return "weights unknown"
    if weights.source == "seeded":
        return "SEEDED weights (latency is valid, accuracy is not)"
    return (
        f"weights of the file {weights.origin} [{weights.sha256[:8]}]" if weights.is_local else f"weights of {weights.source}"
    )
