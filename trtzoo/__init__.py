"""A TensorRT engine builder and benchmark for the DenseNet and DPN image classifiers.

The names below load when they are first used; `import trtzoo` itself loads no framework.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtzoo import models
    from trtzoo.api import Results, bench, build, evaluate, export, parity, read_results, verdict
    from trtzoo.core.errors import TrtzooError

    __version__: str

__all__ = [
    "Results",
    "TrtzooError",
    "__version__",
    "bench",
    "build",
    "evaluate",
    "export",
    "models",
    "parity",
    "read_results",
    "verdict",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("trtzoo")
    if name == "models":
        return import_module("trtzoo.models")
    if name in __all__:
        return getattr(import_module("trtzoo.core.errors" if name == "TrtzooError" else "trtzoo.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
