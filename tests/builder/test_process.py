"""A build's child process, played by small scripts: how it answers, dies, hangs and is cancelled."""

import json
import sys
import threading
import time

import pytest

from tests.builder.jobs import JOB
from trtzoo.builder.plan import run_build
from trtzoo.builder.tensorrt_worker import BuildProgress
from trtzoo.core.errors import BuildError

OUTPUT = {
    "sha256": "0",
    "version": "1",
    "flags": {},
    "inputs": [],
    "outputs": [],
    "layers": {"source": "network", "types": {}, "compute": {}},
    "build_seconds": 1.0,
    "peak_memory": 1,
}
START = """import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
def send(kind, content):
    print(json.dumps({"kind": kind, "content": content}), flush=True)
"""


def child(script, *, stop=None, timeout=30.0, on_progress=lambda progress: None):
    command = [sys.executable, "-c", START + script]
    return run_build(JOB, stop=stop or threading.Event(), timeout=timeout, on_progress=on_progress, command=command)


def failure(script, **options):
    with pytest.raises(BuildError) as error:
        child(script, **options)
    return str(error.value)


def test_progress_is_passed_on_and_the_output_returned():
    seen = []
    script = f"""send("progress", {{"phase": "Optimizing graph", "done": 0.5}})
send("answer", json.loads({json.dumps(OUTPUT)!r}))"""
    assert child(script, on_progress=seen.append).sha256 == "0"
    assert seen == [BuildProgress(phase="Optimizing graph", done=0.5)]


def test_the_job_reaches_the_child_and_its_error_is_the_builds():
    assert failure("send('error', job['onnx'] + ' is bad')") == "net.onnx is bad"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "the builder's process was killed, most likely because the machine ran out of memory. Try --jobs 1",
        ),
        (
            "print('terminate called', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGABRT)",
            "the builder's process died of SIGABRT: terminate called",
        ),
        ("raise ValueError('no')", "the builder's process ended with status 1: ValueError: no"),
    ],
)
def test_a_death_is_explained(script, sentence):
    assert failure(script) == sentence


def test_a_child_that_cannot_even_read_its_job_is_a_death():
    with pytest.raises(BuildError, match="the builder's process ended with status 3"):
        run_build(
            JOB,
            stop=threading.Event(),
            timeout=30,
            on_progress=lambda progress: None,
            command=[sys.executable, "-c", "import os; os._exit(3)"],
        )


def test_a_late_build_is_stopped_and_the_option_named():
    start = time.monotonic()
    assert failure("sys.stdin.read()", timeout=0.3) == "the build timed out after 0.3 s. Allow more with --timeout"
    assert time.monotonic() - start < 5


def test_a_late_build_that_reports_its_end_is_late_all_the_same():
    script = "sys.stdin.read(); send('error', 'cancelled')"
    assert failure(script, timeout=0.3) == "the build timed out after 0.3 s. Allow more with --timeout"


def test_cancelling_closes_the_childs_input(tmp_path):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert failure(f"sys.stdin.read(); open({str(tmp_path / 'heard')!r}, 'w')", stop=stop) == "cancelled"
    assert (tmp_path / "heard").exists()
