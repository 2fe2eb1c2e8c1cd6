"""How a child process ended that did not end well."""

import signal

from trtzoo.core.records import Failure


def exit_failure(code: int, talk: str, *, who: str = "the process") -> Failure:
    """The exit status (negative: a signal) and what it said on stderr, as a failure with its reason."""
    if code == -signal.SIGKILL:
        return Failure(kind="memory", reason=f"{who} was killed; most likely the machine ran out of memory")
    (last,) = talk.strip().splitlines()[-1:] or ["it said nothing"]
    if code < 0:
        return Failure(kind="signal", reason=f"{who} died of {signal.Signals(-code).name}: {last}")
    return Failure(kind="crash", reason=f"{who} ended with status {code}: {last}")
