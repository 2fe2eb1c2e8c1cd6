"""Groups of results that share a table: one device, runtime and protocol."""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from trtzoo.core.records import Result
from trtzoo.hardware.gpus import identify_gpu
from trtzoo.report.published import document
from trtzoo.report.wording import device_text


class Group(msgspec.Struct, frozen=True):
    """Results that share their tables: of one device and protocol, and of one runtime or all chosen by trials.

    `gpu` is the published GPU that their device is, or empty; `name` says whose they are. Of a cell's several the newest is
    here and `older` names the others.
    """

    gpu: str
    short: str
    name: str
    results: tuple[Result, ...]
    older: dict[str, str]

    def of(self, precision: str) -> dict[tuple[str, int], Result]:
        """The results of one precision, by model and batch."""
        return {(row.case.model, row.case.batch): row for row in self.results if row.case.precision == precision}


def groups(results: Iterable[Result]) -> list[Group]:
    """Results by device, runtime, protocol and CUDA graph."""

    def key(result: Result) -> tuple[str, ...]:
        case = result.case
        return (result.device.key, _runtime(result), case.protocol, str(case.cuda_graph))

    return [_group(list(members)) for _, members in groupby(sorted(results, key=key), key=key)]


def _group(members: list[Result]) -> Group:
    newest: dict[tuple[str, str, int], Result] = {}
    older: dict[str, str] = {}
    for result in sorted(members, key=lambda result: (result.started, result.case.name)):
        cell = (result.case.model, result.case.precision, result.case.batch)
        if past := newest.get(cell):
            older[result.case.name] = f"an older result of this cell, by {past.case.runtime}, is left out"
        newest[cell] = result
    case, device = members[0].case, members[0].device
    row = identify_gpu(device.name, device.sm) if device.kind == "gpu" else None
    where = device.name if row else device_text(device)
    graph = {None: "", True: "CUDA graph", False: "no CUDA graph"}[case.cuda_graph]
    protocol = "" if case.protocol == "trtzoo" else case.protocol
    name = ", ".join(filter(None, [where, _runtime(members[0]), protocol, graph]))
    published = row.name if row and row.name in document().latency else ""
    return Group(published, row.title if row else "CPU", name, tuple(newest.values()), older)


def _runtime(result: Result) -> str:
    """The runtime, or "auto" for one that a trial chose."""
    return "auto" if result.selection_reason else result.case.runtime


NOBODY = Group("", "here", "", (), {})
