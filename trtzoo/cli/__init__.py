"""The command line: one file a command, each a short function that parses, calls a stage and renders.

stdout is the result, stderr the talk. Exit 0 done, 1 something failed (the rest is kept), 2 usage, 3 this machine cannot.
"""

import os
import sys

from trtzoo.cli import audit, bench, build, compare, doctor, eval, export, figures, parity, report, table, trtexec
from trtzoo.cli.common import app, talk
from trtzoo.core.errors import TrtzooError

__all__ = [
    "app",
    "audit",
    "bench",
    "build",
    "compare",
    "doctor",
    "eval",
    "export",
    "figures",
    "main",
    "parity",
    "report",
    "table",
    "trtexec",
]


def main() -> None:
    """Run the command line; every error of ours is one sentence and its exit code."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # every child counts GPUs alike
    try:
        app(prog_name="trtzoo")
    except TrtzooError as error:
        talk.print(f"trtzoo: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
