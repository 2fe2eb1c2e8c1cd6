"""`trtzoo audit`."""

import textwrap

from trtzoo.cli import options
from trtzoo.cli.application import command, print_json, terminal_width
from trtzoo.core.console import print_result
from trtzoo.report.audit import Finding, findings


@command("audit")
def audit_command(form: options.TextFormat = "text") -> None:
    """Check the published tables for internal consistency: counts, limits, order, and the publisher's later pages.

    Each finding comes with its evidence.

    Examples: trtzoo audit; trtzoo audit --format json
    """
    if form == "json":
        print_json(findings())
    else:
        print_result(text(findings(), terminal_width()))


def text(found: list[Finding], width: int | None = None) -> str:
    """A heading for each verdict and three lines per finding, wrapped at `width`."""
    wrap = textwrap.TextWrapper(width or 10_000, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    parts = []
    for verdict in dict.fromkeys(row.verdict for row in found):
        rows = [row for row in found if row.verdict == verdict]
        parts.append(f"{verdict.upper()}: {len(rows)}")
        parts += ["\n".join([f"{row.subject} ({row.check})", wrap.fill(row.claim), wrap.fill(row.evidence)]) for row in rows]
    return "\n\n".join(parts)
