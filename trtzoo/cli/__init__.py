"""The command line: each command is a short function that parses, calls `trtzoo.api` and prints.

Results go to stdout, messages to stderr. Exit code 0: done; 1: something failed and the rest is kept; 2: usage error; 3: this
machine cannot do it; 130: interrupted by Ctrl-C.
"""

import errno
import io
import os
import signal
import sys


class InterruptError(Exception):
    """Ctrl-C; the text says what is kept and how to continue."""


def _prepare_stdout() -> None:
    """Let print work where stdout is closed, and in an encoding that lacks a character."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def main() -> None:
    """Run the command line. An error of ours is one sentence and its exit code; so is Ctrl-C, also while modules load."""
    interrupts: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background process ignores it
        signal.signal(signal.SIGINT, interrupt)
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # child processes number the GPUs in the same order
    try:
        from trtzoo.cli.commands import app
        from trtzoo.core.console import log, show_messages
        from trtzoo.core.errors import MachineError, TrtzooError

        show_messages()
        _prepare_stdout()
        try:
            try:
                app(prog_name="trtzoo")
            finally:
                sys.stdout.flush()
        except TrtzooError as error:
            if interrupts:
                raise
            log.error("trtzoo: %s", error)
            sys.exit(error.exit_code)
        except ModuleNotFoundError as error:  # PyTorch and the runtimes are installed apart, by what fits the machine
            if interrupts or error.name is None or error.name.startswith("trtzoo"):
                raise
            log.error("trtzoo: %s is not installed. Run: trtzoo setup", error.name)
            sys.exit(MachineError.exit_code)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO):  # of stdout: a file's error is a StoreError
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush fails again
            log.error("trtzoo: The output could not be written: %s.", error.strerror)
            sys.exit(1)
    except BaseException as error:  # a library may turn the interrupt into an error of its own
        if not interrupts:
            raise
        print(f"\ntrtzoo: {error if isinstance(error, InterruptError) else 'Interrupted.'}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # sys.exit would end with signal 2 if the interrupt came while a C extension ran Python code
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit code is decided; the interpreter still takes a moment
