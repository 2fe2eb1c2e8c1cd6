"""The application with all its commands."""

from trtzoo.cli.application import app, load

load([])

__all__ = ["app"]
