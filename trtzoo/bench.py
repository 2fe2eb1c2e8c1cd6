"""Stage 3: cases → one result file each. One process a case: two runtimes in one process disturb each other's timings."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import msgspec

from trtzoo.errors import StoreError
from trtzoo.spec import Case, Device, Failure, Job, Result
from trtzoo.store import decode, write_record

TIMEOUT = 600.0
"""Seconds after which a case is given up."""


def cases(
    models: list[str], precisions: list[str], batches: list[int], *, runtime: str, device: str, protocol: str
) -> list[Case]:
    """The cross product, model by model."""
    return [
        Case(model=model, precision=precision, batch=batch, runtime=runtime, device=device, protocol=protocol)
        for model, precision, batch in product(models, precisions, batches)
    ]


def bench(todo: list[Case], device: Device, *, artifacts: Path, results: Path, timeout: float = TIMEOUT) -> Iterator[Result]:
    """Run the cases one after another and yield each result, already written to results/<device>/<case>.json.

    A case that crashes, hangs or computes wrongly becomes a result with its failure and stops nothing.
    """
    for case in todo:
        artifact = str(artifacts / f"{case.model}-{case.precision}.onnx")
        result = _run(Job(case=case, device=device, artifact=artifact), timeout)
        write_record(results / device.key / f"{case.name}.json", result)
        yield result


def _run(job: Job, timeout: float) -> Result:
    """The child's result, or one that says how the child ended."""
    command = [sys.executable, "-m", "trtzoo.measure"]
    try:
        done = subprocess.run(command, input=msgspec.json.encode(job), capture_output=True, timeout=timeout, check=False)
        if done.returncode == 0:
            return decode(done.stdout, Result, where="the result")
        failure = _death(done.returncode, done.stderr.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        failure = Failure(kind="timeout", reason=f"no result after {timeout:.0f} s")
    except StoreError as error:
        failure = Failure(kind="crash", reason=str(error))
    return Result(case=job.case, device=job.device, failure=failure)


def _death(code: int, talk: str) -> Failure:
    """How a child ended that did not end well."""
    if code == -signal.SIGKILL:
        return Failure(kind="memory", reason="the process was killed; most likely the machine ran out of memory")
    if code < 0:
        return Failure(kind="signal", reason=f"the process died of {signal.Signals(-code).name}")
    last = talk.strip().splitlines()[-1:] or ["it said nothing"]
    return Failure(kind="crash", reason=f"the process ended with status {code}: {last[0]}")
