"""STACKS: which TensorRT, PyTorch and ONNX Runtime go together, by GPU and driver. The rows are in software.toml."""

import re
import sys
from importlib.resources import files

import msgspec

from trtzoo.core.errors import MachineError


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Pip requirements for GPUs from SM `sm[0]` to `sm[1]` and drivers from `oldest_driver` to before `newest_driver`.

    `newest_python` is the last Python that all of them have wheels for; `extra` installs them, `note` says why these.
    """

    extra: str
    sm: tuple[int, int]
    oldest_driver: int
    newest_driver: int = sys.maxsize
    tensorrt: str
    torch: str
    onnxruntime: str
    newest_python: str
    note: str


class _File(msgspec.Struct, frozen=True):
    oldest_driver: dict[str, int]
    driver_of_cuda: dict[str, int]
    stack: tuple[Stack, ...]


_FILE = msgspec.toml.decode((files("trtzoo.hardware") / "software.toml").read_bytes(), type=_File)
STACKS = _FILE.stack


def find_stack(title: str, sm: int, driver: str) -> Stack:
    """The packages for a GPU of compute capability `sm` with this driver ("550.54.15, CUDA 12.4"); `title` is for the errors.

    Raises MachineError for a GPU or a driver that no row covers; it says which driver to install.
    """
    rows = [row for row in STACKS if row.sm[0] <= sm <= row.sm[1]]
    if not rows:
        raise MachineError(f"{title} (SM{sm}) is older than Volta (SM70), the oldest GPU that TensorRT 10 builds for.")
    release = driver_release(driver)
    for row in rows:
        if row.oldest_driver <= release < row.newest_driver:
            return row
    oldest, best = (function(row.oldest_driver for row in rows) for function in (min, max))
    raise MachineError(
        f"Driver {driver} of {title} is too old: TensorRT's packages need CUDA 12, which runs on driver r{oldest} and later. "
        f"Install driver r{best} or later, or use the CPU: trtzoo setup --target cpu"
    )


def driver_problem(library: str, driver: str) -> str:
    """Why `library` ("CUDA 13", "TensorRT 11") does not run on this driver, as a clause; empty: it does."""
    oldest, release = _FILE.oldest_driver.get(library, 0), driver_release(driver)
    return f"{library} needs driver r{oldest} or later, and driver {driver} is here" if release < oldest else ""


def check_python(stack: Stack, version: tuple[int, int]) -> None:
    """Raise MachineError if a package of the stack has no wheels for this Python."""
    if version > tuple(map(int, stack.newest_python.split("."))):
        raise MachineError(
            f"{stack.tensorrt} has no wheels for Python {version[0]}.{version[1]}; the last is Python {stack.newest_python}. "
            f"Run: python{stack.newest_python} -m venv .venv"
        )


def driver_release(driver: str) -> int:
    """The branch of a driver's version: 550 of "550.54.15, CUDA 12.4" and of "CUDA 12.4" alone; 0 if it is not known."""
    if found := re.match(r"(\d+)\.", driver):
        return int(found[1])
    found = re.search(r"CUDA (\d+)\.(\d+)", driver)
    supported = tuple(map(int, found.groups())) if found else ()
    known = [row for cuda, row in _FILE.driver_of_cuda.items() if tuple(map(int, cuda.split("."))) <= supported]
    return max(known, default=0)
