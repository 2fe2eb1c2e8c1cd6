"""Registries: their rows in TOML files, code that a row names, and optional packages."""

import importlib
import importlib.util
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from trtzoo.core.errors import MachineError

Row = TypeVar("Row")


def read_rows(package: str, file: str, kind: type[Row]) -> dict[str, Row]:
    """The tables of a TOML file in one of our packages, each as a `kind` whose `name` is the table's key."""
    tables = msgspec.toml.decode((files(package) / file).read_bytes())
    return {name: msgspec.convert({"name": name, **table}, kind) for name, table in tables.items()}


def resolve(target: str) -> Any:
    """The object at "package.module:attribute". Only rows name code this way."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def require_module(name: str, *, module: str, extra: str = "", remedy: str = "trtzoo setup") -> None:
    """Raise MachineError if `module`, which `name` needs, is not installed. The extra `extra` installs it, or else `remedy`."""
    if module and importlib.util.find_spec(module) is None:
        command = f"pip install 'trtzoo[{extra}]'" if extra else remedy
        raise MachineError(f"{name} needs {module}, which is not installed. Run: {command}")
