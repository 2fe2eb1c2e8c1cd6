"""`trtzoo doctor`."""

import textwrap
from pathlib import Path

from trtzoo.cli import options
from trtzoo.cli.application import command, print_json, terminal_width
from trtzoo.core.console import print_result, progress_bars
from trtzoo.hardware.doctor import Report, examine
from trtzoo.hardware.probes import ProbeResult

INDENT = " " * 24


@command("doctor")
def doctor_command(form: options.TextFormat = "text") -> None:
    """Show what this machine has, what it can export, build and run, and what to install for the rest.

    Examples: trtzoo doctor; trtzoo doctor --format json
    """
    with progress_bars() as bars:
        bars.add_task("probing the libraries and the driver", total=None)
        report = examine(Path())
    if form == "json":
        print_json(report)
    else:
        print_result(text(report, terminal_width()))


def text(report: Report, width: int | None = None) -> str:
    """Three blocks: what was found, what can be done and what to install, one line each, wrapped at `width`."""
    found = {"Python": f"{report.python}, {report.system}"} | {name: _found(answer) for name, answer in report.found.items()}
    abilities = {row.name: f"{'yes' if row.can else 'no '}  {row.why}" for row in report.abilities}
    remedies = {row.name: row.remedy for row in report.abilities if row.remedy}
    return "\n\n".join(_lines(block, width) for block in (found, abilities, remedies) if block)


def _found(answer: ProbeResult) -> str:
    if answer.error:
        return answer.error
    devices = [f"{device.name} (SM{device.sm}, {device.memory / 2**30:.0f} GiB)" for device in answer.devices]
    return "  ".join([answer.version, *devices, ", ".join(answer.features)]).rstrip()


def _lines(block: dict[str, str], width: int | None) -> str:
    lines = [f"{name:<{len(INDENT)}}{value}" for name, value in block.items()]
    if not width:
        return "\n".join(lines)
    wrap = textwrap.TextWrapper(width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(wrap.fill, lines))
