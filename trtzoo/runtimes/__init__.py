"""Runtimes: one row each in `registry.py` and one file each. Every file gives a Session."""
