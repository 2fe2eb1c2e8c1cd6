"""Read trtexec's JSON files, and write the trtexec command that measures a case."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.decoding import UnreadableError, convert, decode_json, read_file
from trtzoo.core.errors import StoreError
from trtzoo.core.records import Case, LayerTime, Sample

R = TypeVar("R")
T = TypeVar("T")

WARM_UP = 0.2  # trtexec's default, in seconds

FLAGS = {  # the options for what is not a release's default
    ("typed", True): {10: "--stronglyTyped"},
    ("graph", True): {10: "--useCudaGraph"},
    ("graph", False): {11: "--noCudaGraph"},
    ("spin", True): {10: "--useSpinWait"},
    ("spin", False): {11: "--noSpinWait"},
    ("copies", True): {11: "--includeDataTransfers"},
    ("copies", False): {10: "--noDataTransfers"},
}


class _Query(msgspec.Struct, rename="camel"):
    """A row of `--exportTimes`. The copies' times are called h2dMs and d2hMs since TensorRT 8.5, inMs and outMs before."""

    start_compute_ms: float
    compute_ms: float
    h2d_ms: float | None = None
    d2h_ms: float | None = None
    in_ms: float | None = None
    out_ms: float | None = None
    start_enq_ms: float = 0.0
    end_enq_ms: float = 0.0

    @property
    def sample(self) -> Sample:
        copies = (self.h2d_ms, self.d2h_ms) if self.in_ms is None else (self.in_ms, self.out_ms)
        if None in copies or self.start_compute_ms < 0:
            raise UnreadableError("a query without the times of its copies, or before the start")
        h2d, compute, d2h = ((part or 0.0) / 1000 for part in (copies[0], self.compute_ms, copies[1]))
        enqueue = (self.end_enq_ms - self.start_enq_ms) / 1000
        return Sample(total=h2d + compute + d2h, compute=compute, h2d=h2d, d2h=d2h, enqueue=enqueue)


class _Layer(msgspec.Struct, rename="camel"):
    """A row of `--exportProfile`."""

    name: str
    average_ms: float


def read_times(path: Path, *, release: tuple[int, int]) -> tuple[Sample, ...]:
    """The queries of a `--exportTimes` file of this release, (10, 13) for 10.13, as samples.

    Files of releases before 8.5 include the queries of the warm-up, which are left out; later ones do not. Raises StoreError
    for any other file, and for one without queries.
    """
    queries = _read(path, "--exportTimes", _Query, lambda row: (row.start_compute_ms / 1000, row.sample))
    begin = WARM_UP if release < (8, 5) else 0.0
    samples = tuple(sample for start, sample in queries if start >= begin)
    if not samples:
        raise StoreError(f"{path} has {len(queries)} queries, none of them after trtexec's warm-up.")
    return samples


def read_profile(path: Path) -> tuple[LayerTime, ...]:
    """The layers of a `--exportProfile` file, in seconds per query. Raises StoreError for any other file."""
    return tuple(_read(path, "--exportProfile", _Layer, lambda row: LayerTime(name=row.name, seconds=row.average_ms / 1000)))


def can_measure(case: Case, protocol: MeasurementProtocol) -> bool:
    """Whether trtexec can measure a case: it has no loop but `steady`, and it does not flush the L2 cache."""
    return protocol.loop == "trtzoo.benchmark.loops:steady" and not case.flush_l2


def command_line(case: Case, protocol: MeasurementProtocol, *, release: int, onnx: Path, io: tuple[int, int, int]) -> list[str]:
    """The command of trtexec `release` (10 or 11) that measures `case` by `protocol`; `io` is the image's C, H, W.

    trtexec 11 is strongly typed, captures a graph, spins and skips copies by default; 10 does none of that.
    """
    shape = "images:" + "x".join(map(str, (case.batch, *io)))
    words = ["trtexec", f"--onnx={onnx}", *(f"--{which}Shapes={shape}" for which in ("min", "opt", "max")), f"--shapes={shape}"]
    copies = protocol.session_options.get("transfers", True)
    conditions = (("typed", True), ("graph", bool(case.cuda_graph)), ("spin", case.wait != "block"), ("copies", copies))
    words += [FLAGS[condition][release] for condition in conditions if release in FLAGS[condition]]
    if case.precision != "tf32":
        words.append("--noTF32")
    timing = {"warmUp": round(protocol.warm_up_seconds * 1000), "duration": round(protocol.seconds)}
    words += [f"--{name}={value}" for name, value in timing.items()]
    return [*words, f"--iterations={protocol.queries}", f"--exportTimes={case.name}.times.json"]


def _read(path: Path, option: str, kind: type[R], made: Callable[[R], T]) -> list[T]:
    """Every row but the first of a profile, which counts its queries."""
    try:
        rows = convert(decode_json(read_file(path)), list[dict[str, Any]])
        return [made(row) for row in convert([row for row in rows if "count" not in row], list[kind])]  # type: ignore[valid-type]
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a sample refuses times that cannot be
        raise StoreError(f"{path} is not a file of trtexec {option}: {error}.") from error
