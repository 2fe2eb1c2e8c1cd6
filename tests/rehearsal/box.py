"""An emulated machine with NVIDIA GPUs: a folder with a fresh copy of the repository, and the environment of a user's shell.

The box has what a GPU server has before anything is installed: a driver (tests/cuda), `nvidia-smi`, a compiler and Python. All
else comes by the README's commands. pip takes the packages that need a real GPU from tests/rehearsal/wheels.py.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cuda import install
from tests.rehearsal.wheels import make_environment, make_wheelhouse

ROOT = Path(__file__).parents[2]
NEW = {"torch": "2.13.0", "onnxruntime-gpu": "1.31.1", "tensorrt-cu12": "11.4.0"}
CUDA12 = NEW | {"torch": "2.10.0", "onnxruntime-gpu": "1.26.0"}
VOLTA = CUDA12 | {"tensorrt-cu12": "10.4.0"}
CAPPED = "power=70000 reasons=4 sm=1590,1500,1400,1300,1200,1100,1000,900"
"""A T4 at its power limit of 70 W all the time, whose clock falls while it is sampled."""


@dataclass(frozen=True)
class Machine:
    """What a box is: GPUs as tests/cuda names them, the driver and its CUDA, NVML's script, and the packages that fit."""

    gpus: str
    driver: str = "580.65.06"
    cuda: int = 13000
    nvml: str = ""
    packages: dict[str, str] = field(default_factory=lambda: NEW)


@dataclass
class Box:
    folder: Path
    env: dict[str, str]

    def run(self, *command: object, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the box's folder; `code` is the exit status it must have, None for any."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=self.folder, env=self.env | env, capture_output=True, text=True, check=False, timeout=400
        )
        assert code is None or done.returncode == code, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def pip(self, *requirements: str) -> None:
        """Install into the box's environment, with the versions that the tests run on."""
        options = ("--quiet", "--constraint", ".venv/constraints.txt")
        self.run(self.folder / ".venv" / "bin" / "python", "-m", "pip", "install", *options, *requirements)

    def trtzoo(self, *arguments: object, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.folder / ".venv" / "bin" / "trtzoo", *arguments, code=code, **env)


def unpack(folder: Path, machine: Machine, *, bare: bool = True) -> Box:
    """A box with the machine's driver and GPUs, and a fresh copy of the repository.

    One that is not `bare` has an environment with what does not depend on the GPU, which pip takes half a minute to install.
    """
    installed = install.install()
    for name in _tracked():
        target = folder / "trtzoo" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    if not bare:
        make_environment(folder / "trtzoo" / ".venv")
    wheels = folder / "wheels"
    wheels.mkdir()
    pins = folder / "pins.txt"
    pins.write_text("\n".join(make_wheelhouse(wheels, machine.packages)) + "\n")
    smi = folder / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho emulated\n")
    smi.chmod(0o755)
    kept = {name: value for name, value in install.ENVIRONMENT.items() if not name.startswith(("PYTHON", "TRTZOO_EMULATED"))}
    return Box(
        folder / "trtzoo",
        kept
        | {
            "PATH": f"{smi.parent}{os.pathsep}{kept['PATH']}",
            "PYTHON": sys.executable,
            "LD_LIBRARY_PATH": str(installed.driver),
            "PIP_FIND_LINKS": " ".join(filter(None, [str(wheels), kept.get("PIP_FIND_LINKS")])),
            "PIP_CONSTRAINT": str(pins),
            "TRTZOO_CACHE": str(_cache(folder / "cache")),
            "TRTZOO_MIRROR": "http://127.0.0.1:9",  # nothing listens there, so weights are seeded
            "TRTZOO_EMULATED_GPUS": machine.gpus,
            "TRTZOO_EMULATED_DRIVER": machine.driver,
            "TRTZOO_EMULATED_CUDA": str(machine.cuda),
            "TRTZOO_EMULATED_NVML": machine.nvml,
        },
    )


def _tracked() -> Iterator[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return (name for name in listed.split("\0") if name and (ROOT / name).is_file() and not name.startswith("tests/"))


def _cache(folder: Path) -> Path:
    """trtzoo's cache with the PyCUDA that the tests have compiled by trtzoo's own recipe; compiling takes two minutes."""
    from trtzoo.hardware.pycuda_build import wheel_folder

    wheel = install.pycuda(install.cache())
    target = wheel_folder(folder)
    target.mkdir(parents=True)
    shutil.copy(wheel, target)
    return folder
