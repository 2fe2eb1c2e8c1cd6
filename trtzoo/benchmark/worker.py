"""Measure one case in this process: open it, compare its outputs with the golden sample, then take samples.

Run as `python -m trtzoo.benchmark.worker`, by core/subprocesses.py: the request is a BenchJob, the answer its Result.
"""

import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from msgspec.structs import replace

from trtzoo.artifacts import golden
from trtzoo.artifacts.subjects import open_subject
from trtzoo.benchmark.protocols import job_protocol
from trtzoo.core.errors import TrtzooError, WrongOutputError
from trtzoo.core.modules import resolve
from trtzoo.core.records import BenchJob, Failure, Result
from trtzoo.core.subprocesses import serve
from trtzoo.core.system import available_cores
from trtzoo.hardware.gpu_monitor import GpuMonitor
from trtzoo.hardware.other_load import OtherLoad
from trtzoo.runtimes.registry import find_runtime


def measure(job: BenchJob) -> Result:
    """The result of one case; an error becomes its failure."""
    case, path = job.case, Path(job.artifact)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    result = Result(
        case=case,
        identity=job.identity,
        device=job.device,
        started=started,
        selection_reason=job.selection_reason,
        peak=job.peak,
    )
    try:
        protocol = job_protocol(job)
        subject = open_subject(path, remedy=f"trtzoo export {case.model} --precision {case.precision}")
        images, reference = subject.golden.batch(case.batch)
        start = time.perf_counter()
        runtime = find_runtime(case.runtime)
        session = resolve(runtime.opener)(path, batch=case.batch, **job.options)
        load = time.perf_counter() - start
        with closing(session):
            if case.cuda_graph and session.settings["cuda graph"] != "on":
                result = replace(result, case=replace(case, cuda_graph=False))  # what ran; the setting says why
            check = golden.check_logits(session.infer(images), reference, tolerance=runtime.tolerance(case.precision))
            with OtherLoad() as others, GpuMonitor(job.device, settle=protocol.warm_up_seconds) as monitor:
                samples = resolve(protocol.loop)(session, protocol, images)
            return replace(
                result,
                identity=replace(subject.identity, model=case.model),  # a zoo may call a file by another name
                versions=session.versions,
                settings=session.settings,
                threads=session.threads,
                io=subject.sidecar.io,
                weights=subject.sidecar.weights,
                artifact_sha256=subject.sidecar.sha256,
                check=check,
                load=load,
                opening=getattr(session, "opening", None),
                other_load=others.cores,
                available_cores=available_cores(),
                gpu_state=monitor.state,
                gpu_settings=monitor.settings,
                samples=tuple(samples),
            )
    except TrtzooError as error:
        failure = Failure(kind="wrong-output" if isinstance(error, WrongOutputError) else "error", reason=str(error))
    except MemoryError as error:
        failure = Failure(kind="memory", reason=str(error) or "out of memory")
    except Exception as error:  # a runtime may raise anything; the sweep goes on
        failure = Failure(kind="error", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    return replace(result, failure=failure)


def main() -> None:
    """The child process."""
    serve(BenchJob, lambda job, report, stopped: measure(job))


if __name__ == "__main__":
    main()
