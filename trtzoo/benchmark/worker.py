"""One case in this process: open, check against the golden sample, sample by the protocol's loop.

Run as `python -m trtzoo.benchmark.worker`: a Job as JSON on stdin, its Result as JSON on stdout. Outputs are checked before
anything is timed.
"""

import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from trtzoo.artifacts import golden
from trtzoo.artifacts.subjects import open_subject
from trtzoo.benchmark.protocols import find_protocol
from trtzoo.core.errors import TrtzooError, WrongOutputError
from trtzoo.core.modules import resolve
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import BenchJob, Failure, Result
from trtzoo.hardware.devices import OtherLoad
from trtzoo.hardware.gpu_monitor import GpuMonitor
from trtzoo.runtimes.registry import find_runtime


def measure(job: BenchJob) -> Result:
    """The result of one case, whatever becomes of it."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    empty = Result(case=job.case, device=job.device, started=started, selection_reason=job.selection_reason, sgemm=job.sgemm)
    try:
        return _measured(job, empty)
    except WrongOutputError as error:
        return msgspec.structs.replace(empty, failure=Failure(kind="wrong-output", reason=str(error)))
    except TrtzooError as error:
        return msgspec.structs.replace(empty, failure=Failure(kind="error", reason=str(error)))
    except MemoryError as error:
        return msgspec.structs.replace(empty, failure=Failure(kind="memory", reason=str(error) or "out of memory"))
    except Exception as error:  # a runtime may raise anything; the sweep goes on
        return msgspec.structs.replace(
            empty, failure=Failure(kind="error", reason=" ".join(f"{type(error).__name__}: {error}".split()))
        )


def _measured(job: BenchJob, empty: Result) -> Result:
    case = job.case
    remedy = f"trtzoo export {case.model} --precision {case.precision}"
    measured = open_subject(Path(job.artifact), remedy=remedy)
    images, reference = measured.golden.batch(case.batch)
    protocol = find_protocol(case.protocol)
    protocol = msgspec.structs.replace(protocol, seconds=max(protocol.seconds, job.seconds))
    start = time.perf_counter()
    session = resolve(find_runtime(case.runtime).opener)(Path(job.artifact), batch=case.batch, **job.options)
    load = time.perf_counter() - start
    try:
        check = golden.check_logits(session.infer(images), reference, tolerance=find_precision(case.precision).tolerance)
        with OtherLoad() as others, GpuMonitor(job.device, settle=protocol.warm_up_seconds) as watch:
            samples = resolve(protocol.loop)(session, protocol, images)
        return msgspec.structs.replace(
            empty,
            versions=session.versions,
            settings=session.settings,
            threads=session.threads,
            io=measured.io,
            weights=measured.weights,
            artifact_sha256=measured.sha256,
            check=check,
            load=load,
            other_load=others.cores,
            gpu_state=watch.state,
            samples=tuple(samples),
        )
    finally:
        session.close()


def main() -> None:
    """The child process. Whatever a runtime prints goes to stderr: stdout carries the result alone."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        out.write(msgspec.json.encode(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=BenchJob))))


if __name__ == "__main__":
    main()
