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

from trtzoo import golden, precision, protocols, runtimes
from trtzoo.engines import command, peek
from trtzoo.errors import StoreError, TrtzooError, WrongOutputError
from trtzoo.machine import OtherLoad
from trtzoo.spec import Failure, Job, OnnxSidecar, Result, Weights, resolve
from trtzoo.store import read_sidecar, sha256_file
from trtzoo.watch import Watch


def measure(job: Job) -> Result:
    """The result of one case, whatever becomes of it."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    empty = Result(case=job.case, device=job.device, started=started)
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
    case, subject = job.case, _subject(job)
    images, reference = subject.golden.batch(case.batch)
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
            io=subject.io,
            weights=subject.weights,
            artifact_sha256=subject.sha256,
            check=check,
            load=load,
            other_load=others.cores,
            gpu_state=watch.state,
            samples=tuple(samples),
        )
    finally:
        session.close()


class Subject(msgspec.Struct, frozen=True):
    """What the file's sidecar tells of it, and the golden sample that it must reproduce."""

    sha256: str
    io: str
    weights: Weights | None
    golden: golden.Golden


def _subject(job: Job) -> Subject:
    """Raises StoreError for a file without a sidecar, a graph that is not its sidecar's, and a golden sample of another file.

    An engine's own hash is checked when the session opens it.
    """
    artifact, case = Path(job.artifact), job.case
    if artifact.suffix == ".engine":
        engine = peek(artifact)
        if engine is None:
            raise StoreError(f"There is no {artifact} with a sidecar. Run: {command(artifact)}")
        sample = _golden(artifact.with_name(engine.golden), engine.golden_sha256)
        return Subject(engine.sha256, "fp16" if engine.inputs[0].dtype == "HALF" else "fp32", engine.weights, sample)
    graph = read_sidecar(artifact, OnnxSidecar, remedy=f"trtzoo export {case.model} --precision {case.precision}")
    return Subject(graph.sha256, graph.io, graph.weights, _golden(artifact.with_name(graph.golden), graph.golden_sha256))


def _golden(path: Path, sha256: str) -> golden.Golden:
    if not path.is_file() or sha256_file(path) != sha256:
        raise StoreError(
            f"{path} is not the golden sample that was made with this file. Bring it along, or export and build again."
        )
    return golden.load(path)


def main() -> None:
    """The child process. Whatever a runtime prints goes to stderr: stdout carries the result alone."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        out.write(msgspec.json.encode(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))))


if __name__ == "__main__":
    main()
