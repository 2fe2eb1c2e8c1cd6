"""The application with all its commands: importing a file adds its commands, in the order of the help."""

from trtzoo.cli import making, measuring, trtexec, checking, showing, describing, cleaning, setup  # noqa: F401, I001
from trtzoo.cli.application import app

__all__ = ["app"]
