"""One child process, played by small scripts: how it answers, dies, hangs and is cancelled."""

import json
import sys
import threading
import time

import pytest

from trtzoo.builder.messages import BuildJob
from trtzoo.builder.process import run
from trtzoo.core.errors import BuildError

JOB = BuildJob(
    onnx="x.onnx",
    engine="x.engine",
    module="tensorrt_rtx",
    sm=75,
    graph="fp32",
    tf32=False,
    batch=1,
    workspace=1,
    detailed=False,
    opens=False,
)
FINISHED = {
    "type": "Finished",
    "sha256": "0",
    "version": "1",
    "flags": {},
    "inputs": [],
    "outputs": [],
    "layers": {"source": "network", "types": {}, "compute": {}},
    "seconds": 1.0,
    "peak_memory": 1,
}
START = "import json, os, signal, sys, time\njob = json.loads(sys.stdin.readline())\n"


def child(script, *, stop=None, timeout=30.0, watch=lambda phase, done: None):
    command = (sys.executable, "-c", START + script)
    return run(JOB, stop=stop or threading.Event(), timeout=timeout, watch=watch, command=command)


def death(script, **options):
    with pytest.raises(BuildError) as error:
        child(script, **options)
    return str(error.value)


def test_progress_is_passed_on_and_the_last_word_returned():
    seen = []
    progress = {"type": "BuildProgress", "phase": "Optimizing graph", "done": 0.5}
    lines = json.dumps(progress) + "\n" + json.dumps(FINISHED)
    finished = child(f"print({lines!r})", watch=lambda phase, done: seen.append((phase, done)))
    assert finished.sha256 == "0"
    assert seen == [("Optimizing graph", 0.5)]


def test_the_job_reaches_the_child():
    reason = "json.dumps({'type': 'Failed', 'reason': job['onnx'] + ' is bad'})"
    assert death(f"print({reason})") == "x.onnx is bad"


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
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the builder's process died of SIGSEGV: it printed nothing"),
        ("raise ValueError('no')", "the builder's process ended with status 1: ValueError: no"),
        ('print(\'{"type": "Fini\', flush=True)', "the builder's process ended with status 0: it printed nothing"),
    ],
)
def test_a_death_is_explained(script, sentence):
    assert death(script) == sentence


def test_a_child_that_cannot_even_read_its_job_is_a_death():
    command = (sys.executable, "-c", "import os; os._exit(3)")
    with pytest.raises(BuildError, match="the builder's process ended with status 3"):
        run(JOB, stop=threading.Event(), timeout=30, watch=lambda phase, done: None, command=command)


def test_a_late_build_is_given_up():
    start = time.monotonic()
    assert death("sys.stdin.read()", timeout=0.3) == "the build was given up after 0.3 s. Allow more with --timeout"
    assert time.monotonic() - start < 5


def test_cancelling_closes_the_child_s_input(tmp_path):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert death(f"sys.stdin.read(); open({str(tmp_path / 'heard')!r}, 'w')", stop=stop) == "cancelled"
    assert (tmp_path / "heard").exists()
