"""Runtimes: each is a row in `registry.py` and a file that opens a Session."""
