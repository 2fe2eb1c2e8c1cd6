"""How a child process ended that did not end well."""

from __future__ import annotations

import signal

from trtzoo.spec import Failure


def ending(code: int, talk: str) -> Failure:
    """The exit status (negative: a signal) and what it said on stderr, as a failure with its reason."""
    if code == -signal.SIGKILL:
        return Failure(kind="memory", reason="the process was killed; most likely the machine ran out of memory")
    if code < 0:
        return Failure(kind="signal", reason=f"the process died of {signal.Signals(-code).name}")
    last = talk.strip().splitlines()[-1:] or ["it said nothing"]
    return Failure(kind="crash", reason=f"the process ended with status {code}: {last[0]}")
