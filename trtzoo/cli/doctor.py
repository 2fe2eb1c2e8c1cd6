"""`trtzoo doctor`."""

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.cli.common import app, say, talk
from trtzoo.core.errors import UsageError
from trtzoo.core.files import encode
from trtzoo.hardware.doctor import Report, examine
from trtzoo.hardware.probes import ProbeResult


@app.command("doctor")
def doctor_command(
    kind: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Tell what this machine has, what it can export, build and run, and what to install for the rest.

    Examples: trtzoo doctor; trtzoo doctor --format json
    """
    if kind not in ("text", "json"):
        raise UsageError(f"--format {kind!r}: say text or json.")
    with talk.status("asking the libraries and the driver"):
        report = examine(Path())
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    say(encode(report).decode().rstrip() if kind == "json" else text(report, width))


def text(report: Report, width: int = 0) -> str:
    """A line for each thing found, a line for each thing to do, and a line for each thing to install, folded at `width`."""
    found = {"Python": f"{report.python}, {report.system}"} | {name: _found(answer) for name, answer in report.found.items()}
    abilities = {row.name: f"{'yes' if row.can else 'no '}  {row.why}" for row in report.abilities}
    remedies = {row.name: row.remedy for row in report.abilities if row.remedy}
    return "\n\n".join(_lines(part, width) for part in (found, abilities, remedies) if part)


def _found(answer: ProbeResult) -> str:
    if answer.error:
        return answer.error
    devices = [f"{device.name} (SM{device.sm}, {device.memory / 2**30:.0f} GiB)" for device in answer.devices]
    return "  ".join([answer.version, *devices, ", ".join(answer.features)]).rstrip()


def _lines(part: dict[str, str], width: int) -> str:
    lines = [f"{name:<24}{value}" for name, value in part.items()]
    fold = textwrap.TextWrapper(width, subsequent_indent=" " * 24, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(fold.fill, lines) if width else lines)
