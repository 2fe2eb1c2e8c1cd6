"""One case in this process: open, check against the golden sample, sample by the protocol's loop.

Run as `python -m trtzoo.measure`: a Job as JSON on stdin, its Result as JSON on stdout. Outputs are checked before
anything is timed.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from trtzoo import golden, precision, protocols, runtimes, subject
from trtzoo.errors import TrtzooError, WrongOutputError
from trtzoo.machine import OtherLoad
from trtzoo.spec import Failure, Job, Result, resolve
from trtzoo.watch import Watch


def measure(job: Job) -> Result:
    """The result of one case, whatever becomes of it."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    empty = Result(case=job.case, device=job.device, started=started, choice=job.choice, sgemm=job.sgemm)
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


def _measured(job: Job, empty: Result) -> Result:
    case = job.case
    remedy = f"trtzoo export {case.model} --precision {case.precision}"
    measured = subject.find(Path(job.artifact), remedy=remedy)
    images, reference = measured.golden.batch(case.batch)
    protocol = protocols.find(case.protocol)
    protocol = msgspec.structs.replace(protocol, seconds=max(protocol.seconds, job.seconds))
    start = time.perf_counter()
    session = resolve(runtimes.find(case.runtime).opener)(Path(job.artifact), batch=case.batch, **job.options)
    load = time.perf_counter() - start
    try:
        check = golden.compare(session.infer(images), reference, tolerance=precision.find(case.precision).tolerance)
        with OtherLoad() as others, Watch(job.device, settle=protocol.warm_up_seconds) as watch:
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
        out.write(msgspec.json.encode(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))))


if __name__ == "__main__":
    main()
