"""Messages for people, on stderr: levels, one console and one style of progress bar. stdout is for results.

Modules log to `log`, the "trtzoo" logger; the command line shows it (`show_messages`). A program that imports trtzoo
chooses its own handlers; without one, nothing is printed. Text is printed as it is: no markup, no highlighting.
"""

import logging
import os
import re
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

log = logging.getLogger("trtzoo")
log.addHandler(logging.NullHandler())  # without a handler, Python would print warnings by itself

ALERT = 35  # a warning that must not be missed, as of seeded weights; --quiet shows only alerts and errors
logging.addLevelName(ALERT, "ALERT")

STYLES = {logging.ERROR: "red", ALERT: "bold red", logging.WARNING: "yellow"}

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # without tab and newline

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Text from a file, a name or a device as a terminal may show it: control and bidirectional characters are "?"."""
    return CONTROLS.sub("?", text)


class _Handler(logging.Handler):
    """Prints messages above the progress bars, if there are any."""

    def emit(self, record: logging.LogRecord) -> None:
        stderr.print(printable(record.getMessage()), style=STYLES.get(record.levelno), markup=False)


def show_messages(*, quiet: bool = False) -> None:
    """Print the log's messages on stderr: all from INFO on, or with `quiet` from ALERT on. The last call decides."""
    log.handlers = [_Handler()]
    log.propagate = False
    log.setLevel(ALERT if quiet else logging.INFO)


def draws() -> bool:
    """Whether bars are drawn: on a terminal, unless --quiet or NO_COLOR (bars are escape codes, too)."""
    return stderr.is_terminal and log.isEnabledFor(logging.INFO) and not os.environ.get("NO_COLOR")


def progress_bars() -> Progress:
    """Progress bars, one line a task: description, bar, done of total, time. They vanish at the end."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=stderr, disable=not draws(), transient=True, redirect_stdout=False, refresh_per_second=2)


def print_result(line: str) -> None:
    """A line of the result, on stdout. On a terminal it goes through the console, which may be drawing bars below it."""
    line = printable(line)
    if sys.stdout.isatty() and draws():
        stderr.print(line, markup=False)
    else:
        print(line, flush=True)
