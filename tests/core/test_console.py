"""Messages: levels decide what --quiet shows; nothing is printed by the library itself."""

import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
from trtzoo.core.console import ALERT, draws, log, print_result, progress_bars, show_messages
{setup}
log.info("information [bold]")
log.warning("a warning")
log.log(ALERT, "an alert")
log.error("an error")
print_result("a result")
with progress_bars() as bars:
    for _ in bars.track(range(3)):
        pass
"""


def run(setup, **env):
    command = [sys.executable, "-c", SCRIPT.format(setup=setup)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env or None)
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_messages_go_to_stderr_as_they_are_and_results_to_stdout():
    assert run("show_messages()") == (["a result"], ["information [bold]", "a warning", "an alert", "an error"])


def test_quiet_keeps_alerts_and_errors():
    assert run("show_messages(quiet=True)") == (["a result"], ["an alert", "an error"])


def test_quiet_can_be_set_and_reset():
    assert run("show_messages(quiet=True); show_messages()")[1] == ["information [bold]", "a warning", "an alert", "an error"]


def test_a_user_of_the_library_decides_about_its_messages():
    """Python's own rule for a library whose user set up no logging: warnings and errors, plain."""
    assert run("")[1] == ["a warning", "an alert", "an error"]
    assert run("logging.getLogger('trtzoo').addHandler(logging.NullHandler())")[1] == []


@pytest.mark.parametrize("setup", ["show_messages()", "show_messages(quiet=True)"])
def test_no_bar_is_drawn_where_stderr_is_no_terminal(setup):
    assert not any("\x1b" in line or "━" in line for line in run(setup)[1])
