"""Messages for people, on stderr: levels, one console and one style of progress bar. stdout is for results.

Modules log to `log`, the "trtzoo" logger; the command line shows it (`show_messages`). A program that imports trtzoo
chooses its own handlers; without one, nothing is printed. Text is printed as it is: no markup, no highlighting.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeElapsedColumn
from rich.text import Text

log = logging.getLogger("trtzoo")
log.addHandler(logging.NullHandler())  # without a handler, Python would print warnings by itself

ALERT = 35  # a warning that must not be missed, as of seeded weights; --quiet shows only alerts and errors
logging.addLevelName(ALERT, "ALERT")

STYLES = {logging.ERROR: "red", ALERT: "bold red", logging.WARNING: "yellow"}

CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # without tab and newline
    r"\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # direction, and what is not seen
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # no characters: UTF-8 or XML cannot have them
)

stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def printable(text: str) -> str:
    """Text from a file, a name or a device as any output may show it: control and bidirectional characters are "?"."""
    return CONTROLS.sub("?", text)


def one_line(text: object) -> str:
    """The same in one line: a text with a newline could pretend to be two of our lines."""
    return printable(str(text)).replace("\n", " ")


class _Handler(logging.Handler):
    """Prints messages above the progress bars, if there are any. What a message quotes is in one line."""

    def emit(self, record: logging.LogRecord) -> None:
        message = str(record.msg)
        if isinstance(record.args, tuple) and record.args:
            message %= tuple(value if isinstance(value, int | float) else one_line(value) for value in record.args)
        stderr.print(printable(message), style=STYLES.get(record.levelno), markup=False)


class _Description(ProgressColumn):
    """What a progress bar is of."""

    def render(self, task: Task) -> Text:
        return Text(one_line(task.description))


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
    columns = (_Description(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=stderr, disable=not draws(), transient=True, redirect_stdout=False, refresh_per_second=2)


def print_result(line: str) -> None:
    """A line of the result, on stdout."""
    print_lines([line])


def print_lines(lines: Iterable[str]) -> None:
    """Lines of the result, on stdout. On a terminal they go through the console, which may be drawing bars below them."""
    text = "\n".join(map(one_line, lines))
    if sys.stdout.isatty() and draws():
        stderr.print(text, markup=False)
    else:
        print(text, flush=True)
