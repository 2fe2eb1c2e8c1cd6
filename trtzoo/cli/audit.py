"""`trtzoo audit`."""

import shutil
import sys
import textwrap
from typing import Annotated

import msgspec
import typer

from trtzoo.cli.common import app
from trtzoo.core.errors import unknown
from trtzoo.report.audit import Finding, findings

FORMATS = ("text", "json")


@app.command("audit")
def audit_command(form: Annotated[str, typer.Option("--format", help=f"{' or '.join(FORMATS)}.")] = "text") -> None:
    """Judge the published tables by themselves: counts, limits, order, and the publisher's later pages; each with its evidence.

    Examples: trtzoo audit; trtzoo audit --format json
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    found = findings()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() if form == "json" else text(found, width))


def text(found: list[Finding], width: int = 0) -> str:
    """A heading for each verdict and three lines a finding, folded at `width`."""
    fold = textwrap.TextWrapper(width or 10_000, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    parts = []
    for verdict in dict.fromkeys(row.verdict for row in found):
        rows = [row for row in found if row.verdict == verdict]
        parts.append(f"{verdict.upper()}: {len(rows)}")
        parts += ["\n".join([f"{row.subject} ({row.check})", fold.fill(row.claim), fold.fill(row.evidence)]) for row in rows]
    return "\n\n".join(parts)
