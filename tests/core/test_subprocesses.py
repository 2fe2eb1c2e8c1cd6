"""Child processes: how they answer, fail, die, hang, are cancelled, and end with their parent."""

import os
import subprocess
import sys
import threading
import time

import pytest

from trtzoo.core.subprocesses import ChildError, run_child

SERVE = """
import os, signal, sys, time
from trtzoo.core.errors import StoreError
from trtzoo.core.subprocesses import serve
def handle(request, report, stopped):
{body}
serve(dict, handle, grace={grace})
"""


def child(body, *, grace=0.0, request=None, **options):
    """Run a child whose `handle` has this body."""
    script = SERVE.format(body="\n".join(f"    {line}" for line in body.splitlines()), grace=grace)
    return run_child([sys.executable, "-c", script], request or {}, answer=dict, grace=grace, **options)


def failure(body, **options):
    with pytest.raises(ChildError) as error:
        child(body, **options)
    return error.value.failure.kind, error.value.failure.reason


def test_the_request_arrives_and_the_answer_comes_back():
    assert child("return {'twice': 2 * request['number']}", request={"number": 21}) == {"twice": 42}


def test_progress_is_reported_in_order_before_the_answer():
    seen = []
    answer = child("for step in range(3): report(step)\nreturn {}", progress=int, on_progress=seen.append)
    assert (answer, seen) == ({}, [0, 1, 2])


def test_what_a_library_prints_is_no_message():
    assert child("print('hello'); os.write(1, b'world'); return {'ok': True}") == {"ok": True}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise StoreError('x.onnx is missing.')", ("error", "x.onnx is missing.")),
        ("raise ValueError('no')", ("crash", "the process ended with status 1: ValueError: no")),
        (
            "print('first', 'last', '', sep='\\n', file=sys.stderr, flush=True); os._exit(3)",
            ("crash", "the process ended with status 3: last"),
        ),
        ("os._exit(3)", ("crash", "the process ended with status 3: it printed nothing")),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ("signal", "the process died of SIGSEGV: it printed nothing")),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            ("memory", "the process was killed, most likely because the machine ran out of memory"),
        ),
    ],
)
def test_every_end_without_an_answer_is_explained(body, expected):
    assert failure(body) == expected


def test_a_message_cut_short_is_an_end_without_an_answer():
    with pytest.raises(ChildError, match="the process ended with status 0: it printed nothing"):
        run_child([sys.executable, "-c", 'print(\'{"kind": "answer"\')'], {}, answer=int)


def test_a_late_child_is_ended():
    start = time.monotonic()
    assert failure("time.sleep(60)", timeout=1.5) == ("timeout", "no result after 1.5 s")
    assert time.monotonic() - start < 10


def test_an_error_that_a_late_child_reports_is_a_timeout():
    assert failure("stopped.wait(); raise StoreError('stopped')", grace=2.0, timeout=1.5) == (
        "timeout",
        "no result after 1.5 s",
    )


def test_a_cancelled_child_has_its_grace(tmp_path):
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    heard = tmp_path / "heard"
    assert failure(f"stopped.wait(); open({str(heard)!r}, 'w').close(); time.sleep(60)", grace=2.0, stop=stop) == (
        "cancelled",
        "cancelled",
    )
    assert heard.exists()


def test_a_child_ends_with_its_parent_however_that_one_ends(tmp_path):
    mark = tmp_path / "pid"
    body = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = SERVE.format(body=f"    {body}", grace=0.0)
    call = f"run_child([sys.executable, '-c', {parent!r}], {{}}, answer=dict)"
    code = f"import sys\nfrom trtzoo.core.subprocesses import run_child\n{call}"
    process = subprocess.Popen([sys.executable, "-c", code])
    _wait_until(lambda: mark.exists() and mark.read_text())
    process.kill()
    process.wait()
    _wait_until(lambda: not _alive(int(mark.read_text())))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a program with its parent (PR_SET_PDEATHSIG)")
def test_a_child_that_cannot_notice_dies_with_its_parent_and_its_own_child_too(tmp_path):
    """The grandchild is in C code that holds the interpreter's lock, as a library's may: none of its threads runs."""
    marks = [tmp_path / "child", tmp_path / "grandchild"]
    write = "open({!r}, 'w').write(str(os.getpid()))"
    blocked = f"import ctypes; {write.format(str(marks[1]))}; ctypes.PyDLL(None).sleep(60)"
    inner = SERVE.format(body=f"    {blocked}", grace=60.0)
    body = f"    from trtzoo.core.subprocesses import run_child; {write.format(str(marks[0]))}\n"
    body += f"    run_child([sys.executable, '-c', {inner!r}], {{}}, answer=dict, grace=60)"
    outer = SERVE.format(body=body, grace=60.0)
    call = f"run_child([sys.executable, '-c', {outer!r}], {{}}, answer=dict)"
    code = f"import sys\nfrom trtzoo.core.subprocesses import run_child\n{call}"
    process = subprocess.Popen([sys.executable, "-c", code])
    _wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    process.kill()
    process.wait()
    _wait_until(lambda: not any(_alive(int(mark.read_text())) for mark in marks), seconds=2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a program with its parent (PR_SET_PDEATHSIG)")
def test_a_program_that_is_not_ours_dies_with_its_parent(tmp_path):
    mark = tmp_path / "pid"
    tool = ["sh", "-c", f"echo $$ > {mark}; exec sleep 60"]
    process = subprocess.Popen([sys.executable, "-c", f"from trtzoo.core.subprocesses import run_tool\nrun_tool({tool!r})"])
    _wait_until(lambda: mark.exists() and mark.read_text().strip())
    process.kill()
    process.wait()
    _wait_until(lambda: not _alive(int(mark.read_text())))


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = f"/proc/{pid}/stat"
    return not os.path.exists(state) or open(state).read().split()[2] != "Z"  # noqa: PTH110, PTH123


def _wait_until(condition, seconds=20):
    late = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < late
        time.sleep(0.02)
