"""trtexec beside trtzoo: its exported JSON becomes results, and a case becomes the trtexec command that measures the same."""

from pathlib import Path
from typing import Any

import msgspec

from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.errors import StoreError
from trtzoo.core.records import Case, LayerTime, Sample

WARM_UP = 0.2
"""trtexec's default: queries that start earlier are in the file and not in its statistics."""

COPIES = (("h2dMs", "d2hMs"), ("inMs", "outMs"))
"""What the copies are called since TensorRT 8.5, and before."""


def read_times(path: Path) -> tuple[Sample, ...]:
    """The queries of a `--exportTimes` file after its warm-up, as samples in seconds.

    Raises StoreError for a file that is not one, or in which nothing comes after the warm-up.
    """
    rows = _rows(path)
    try:
        samples = tuple(_sample(row) for row in rows if row["startComputeMs"] / 1000 >= WARM_UP)
    except (KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{path} is not what trtexec --exportTimes writes: {error!r} is missing in a row.") from error
    if not samples:
        raise StoreError(f"{path} has {len(rows)} queries and none after trtexec's warm-up of {WARM_UP} s.")
    return samples


def read_profile(path: Path) -> tuple[LayerTime, ...]:
    """The layers of a `--exportProfile` file, in seconds a query. Raises StoreError for a file that is not one."""
    rows = _rows(path)
    try:
        return tuple(LayerTime(name=row["name"], seconds=row["averageMs"] / 1000) for row in rows if "count" not in row)
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path} is not what trtexec --exportProfile writes: {error!r} is missing in a row.") from error


def command_line(case: Case, protocol: MeasurementProtocol, *, release: int, onnx: Path, io: tuple[int, int, int]) -> list[str]:
    """The words of trtexec `release` (10 or 11) that measure `case` by `protocol`; `io` is the image's C, H, W.

    trtexec 11 is strongly typed, captures a graph, spins and leaves copies out by itself; 10 is told to. Empty where that
    trtexec cannot: nothing turns 11's defaults off here, and only `steady` protocols are trtexec's way.
    """
    copies, graph = protocol.session_options.get("transfers", True), protocol.cuda_graph
    if protocol.loop != "trtzoo.benchmark.loops:steady" or (release >= 11 and (copies or not graph)):
        return []
    shape = "images:" + "x".join(map(str, (case.batch, *io)))
    words = ["trtexec", f"--onnx={onnx}", *(f"--{which}Shapes={shape}" for which in ("min", "opt", "max")), f"--shapes={shape}"]
    if release < 11:
        words.append("--stronglyTyped")
        words += ["--useCudaGraph"] * graph + ["--useSpinWait", "--noDataTransfers"] * (not copies)
    if case.precision != "tf32":
        words.append("--noTF32")
    timing = {"warmUp": round(protocol.warm_up_seconds * 1000), "duration": round(protocol.seconds)}
    words += [f"--{name}={value}" for name, value in timing.items()]
    return [*words, f"--iterations={protocol.queries}", f"--exportTimes={case.name}.times.json"]


def _sample(row: dict[str, float]) -> Sample:
    before, after = next(names for names in COPIES if names[0] in row)
    h2d, compute, d2h = (row[name] / 1000 for name in (before, "computeMs", after))
    enqueue = (row["endEnqMs"] - row["startEnqMs"]) / 1000 if "endEnqMs" in row else 0.0
    return Sample(total=h2d + compute + d2h, compute=compute, h2d=h2d, d2h=d2h, enqueue=enqueue)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except FileNotFoundError as error:
        raise StoreError(f"{path} is not there.") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError(f"{path} is not a JSON list as trtexec writes it: {error}.") from error
