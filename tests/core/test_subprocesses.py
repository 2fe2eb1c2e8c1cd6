"""How a child process ended, in words."""

import signal

import pytest

from trtzoo.core.subprocesses import exit_failure


@pytest.mark.parametrize(
    ("code", "talk", "kind", "reason"),
    [
        (-signal.SIGKILL, "", "memory", "the process was killed; most likely the machine ran out of memory"),
        (-signal.SIGSEGV, "words", "signal", "the process died of SIGSEGV: words"),
        (3, "first\nlast\n", "crash", "the process ended with status 3: last"),
        (3, " \n", "crash", "the process ended with status 3: it said nothing"),
    ],
)
def test_an_ending_has_a_kind_and_a_reason(code, talk, kind, reason):
    assert (exit_failure(code, talk).kind, exit_failure(code, talk).reason) == (kind, reason)
