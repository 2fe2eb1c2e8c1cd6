"""Optional modules, and rows of registries that name code with heavy imports."""

import importlib
import importlib.util
from typing import Any

from trtzoo.core.errors import MachineError


def resolve(target: str) -> Any:
    """The object at "package.module:attribute": how a table of names reaches code with heavy imports."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def require_module(name: str, *, module: str, extra: str) -> None:
    """Raises MachineError, with the extra that brings it, where `module`, which `name` needs, is not installed."""
    if module and importlib.util.find_spec(module) is None:
        raise MachineError(f"{name} needs {module}, which is not installed. Run: pip install 'trtzoo[{extra}]'")
