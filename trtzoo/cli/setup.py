"""`trtzoo setup`."""

from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.cli.application import command
from trtzoo.core.console import log, print_lines, print_result
from trtzoo.hardware import probes, setup


@command("setup")
def setup_command(
    target: Annotated[
        str, typer.Option(help=f"{'; '.join(f'{name}: {text}' for name, text in setup.TARGETS.items())}.")
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps; install nothing.")] = False,
    constraint: Annotated[Path | None, typer.Option(help="A constraints file for pip.")] = None,
) -> None:
    """Install the PyTorch, ONNX Runtime and TensorRT that fit this machine's GPU and driver, and compile PyCUDA.

    No CUDA toolkit is needed; PyCUDA needs a C++ compiler and Python's headers. Packages go into this Python's environment.

    Examples: trtzoo setup; trtzoo setup --target rtx-gpu --dry-run
    """
    found = probes.run_probes("cuda", "pycuda")
    installed = {row.metadata["Name"].lower() for row in metadata.distributions() if row.metadata["Name"]}
    steps = setup.plan(target, found["cuda"], installed, pycuda_loads=not found["pycuda"].error)
    if dry_run:
        print_lines(f"{step.text}  # {step.reason}" for step in steps)
        return
    setup.carry_out(steps, constraint, lambda step: log.info("%s: %s", step.text, step.reason))
    print_result("Done. To see what this machine can do: trtzoo doctor")
