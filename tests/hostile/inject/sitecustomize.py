"""Python runs this when it starts, if this folder is on PYTHONPATH."""

from trouble import install_from_environment

install_from_environment()
