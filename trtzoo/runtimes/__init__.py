"""Runtimes: each is a row in `registry.py` and a file that opens a Session."""

from trtzoo.runtimes.registry import RUNTIMES, Runtime, Session, find_runtime

__all__ = ["RUNTIMES", "Runtime", "Session", "find_runtime"]
