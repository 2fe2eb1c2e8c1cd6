"""The application with all its commands; importing a command's file adds it."""

from trtzoo.cli import audit, bench, build, compare, doctor, eval, export, figures, models, parity, report, table, trtexec
from trtzoo.cli.application import app

COMMANDS = (export, build, bench, eval, parity, table, figures, report, compare, audit, models, doctor, trtexec)

__all__ = ["COMMANDS", "app"]
