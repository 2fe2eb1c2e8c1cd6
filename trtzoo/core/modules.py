"""Modules by name: code that a registry's row names, and optional packages."""

import importlib
import importlib.util
from typing import Any

from trtzoo.core.errors import MachineError


def resolve(target: str) -> Any:
    """The object at "package.module:attribute". Only rows of registries name code this way."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def require_module(name: str, *, module: str, extra: str) -> None:
    """Raise MachineError if `module`, which `name` needs, is not installed; it names the extra that installs it."""
    if module and importlib.util.find_spec(module) is None:
        raise MachineError(f"{name} needs {module}, which is not installed. Run: pip install 'trtzoo[{extra}]'")
