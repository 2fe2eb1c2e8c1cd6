"""Groups of results that share a table: one device, runtime and protocol."""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from trtzoo.core.records import Result
from trtzoo.hardware.gpus import identify_gpu
from trtzoo.report.published import document
from trtzoo.report.wording import device_text


class Group(msgspec.Struct, frozen=True):
    """Results of one device, protocol and CUDA graph setting; of one runtime, or all that trials selected.

    `gpu` is their device's published GPU, or empty; `name` describes them. `results` has each cell's newest result; `older`
    maps its case name to a note on the results left out.
    """

    gpu: str
    short: str
    name: str
    results: tuple[Result, ...]
    older: dict[str, str]

    def of(self, precision: str) -> dict[tuple[str, int], Result]:
        """Return the results of one precision, by model and batch."""
        return {(row.case.model, row.case.batch): row for row in self.results if row.case.precision == precision}


NOBODY = Group("", "here", "", (), {})


def groups(results: Iterable[Result]) -> list[Group]:
    """Group results by device, runtime, protocol and CUDA graph."""

    def key(result: Result) -> tuple[str, ...]:
        return (result.device.key, _runtime(result), result.case.protocol, str(result.case.cuda_graph))

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
    gpu = identify_gpu(device.name, device.sm) if device.kind == "gpu" else None
    graph = {None: "", True: "CUDA graph", False: "no CUDA graph"}[case.cuda_graph]
    parts = [device.name if gpu else device_text(device), _runtime(members[0])]
    parts += ["" if case.protocol == "trtzoo" else case.protocol, graph]
    published = gpu.name if gpu and gpu.name in document().latency else ""
    name = ", ".join(filter(None, parts))
    return Group(published, gpu.title if gpu else "CPU", name, tuple(newest.values()), older)


def _runtime(result: Result) -> str:
    """Return the runtime, or "auto" if a trial selected it."""
    return "auto" if result.selection_reason else result.case.runtime
