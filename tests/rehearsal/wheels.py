"""Wheels for an emulated box: doubles of TensorRT, and this environment's PyTorch and ONNX Runtime under the names and versions
that a box with a GPU installs.

A box installs them with pip as a user does: pip finds them in a folder, and a constraints file pins them, so a set-up that asks
for packages that do not fit the box fails. The packages that every box needs may be linked before, to save time.
"""

import importlib.metadata
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

DOUBLE = Path(__file__).parents[1] / "cuda" / "double"
SITE = Path(sysconfig.get_path("purelib"))
LINKED = {"torch": ("torch", "torchgen", "functorch", "nvidia", "triton"), "onnxruntime-gpu": ("onnxruntime",)}


def make_wheelhouse(folder: Path, versions: dict[str, str]) -> list[str]:
    """Write a wheel for each distribution in `versions`, and return the pins for pip's constraints file."""
    pins = []
    for name, version in versions.items():
        emulated = f"{version}+emulated"
        files = _linked(folder / "links" / name, LINKED[name]) if name in LINKED else _doubles()
        _write(folder, name, emulated, files, _requirements(name))
        pins.append(f"{name}=={emulated}")
    return pins


def make_environment(folder: Path) -> None:
    """Make a virtual environment that has all that trtzoo and the wheels require, as links to this one's packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in {"pip", "setuptools"}.union(_required("trtzoo", "report"), *(_required(_real(each)) for each in LINKED)):
        for top in {path.parts[0] for path in importlib.metadata.files(name) or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(SITE / top)


def _required(name: str, *extras: str) -> set[str]:
    """The names of all distributions that one requires, with its `extras`."""
    found: set[str] = set()
    waiting = [Requirement(f"{name}[{','.join(extras)}]")]
    while waiting:
        above = waiting.pop()
        for line in importlib.metadata.requires(above.name) or []:
            row = Requirement(line)
            wanted = row.marker is None or any(row.marker.evaluate({"extra": extra}) for extra in ("", *above.extras))
            if wanted and row.name not in found:
                found.add(row.name)
                waiting.append(row)
    return found


def _linked(folder: Path, modules: tuple[str, ...]) -> dict[str, bytes]:
    """A path file for a folder with links to modules of this environment: nothing else of it is importable in the box."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in modules:
        link = folder / module
        if (SITE / module).exists() and not link.is_symlink():
            link.symlink_to(SITE / module)
    return {f"emulated_{folder.name.replace('-', '_')}.pth": f"{folder}\n".encode()}


def _doubles() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in DOUBLE.glob("*.py") if path.stem != "tensorrt_rtx"}


def _requirements(name: str) -> list[str]:
    """What the double itself needs from the package index: on a machine with a GPU, PyTorch here needs NVIDIA's libraries."""
    listed = importlib.metadata.requires(_real(name)) or [] if name in LINKED else ["numpy", "onnx", "onnxruntime-gpu"]
    return [line for line in listed if "extra ==" not in line and not line.startswith(("nvidia", "cuda", "triton"))]


def _real(name: str) -> str:
    """The distribution here that a wheel is made of: a machine has one of two ONNX Runtimes."""
    here = {row.name for row in importlib.metadata.distributions()}
    return name if name in here else name.removesuffix("-gpu")


def _write(folder: Path, name: str, version: str, files: dict[str, bytes], requirements: list[str]) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requirements)
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in ("cuda", "cudnn"))
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}{extras}",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: trtzoo-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
        for path, text in about.items():
            wheel.writestr(f"{stem}.dist-info/{path}", text)
