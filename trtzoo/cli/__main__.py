"""`python -m trtzoo.cli`."""

from trtzoo.cli import main

main()
