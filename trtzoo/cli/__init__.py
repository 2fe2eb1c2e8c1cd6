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


def _occupy_descriptors() -> None:
    """Open the null device in place of each closed standard stream, or a file or pipe of ours would get its number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def _prepare_stdout() -> None:
    """Let print work where stdout is closed, and in an encoding that lacks a character."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - open as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _explain(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit code for an error that is the user's or the machine's; None for one of ours."""
    from trtzoo.core.errors import MachineError, TrtzooError

    if isinstance(error, TrtzooError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        return "This process may not use more memory, or no more threads.", MachineError.exit_code
    if isinstance(error, ImportError) and not (error.name or "trtzoo").startswith("trtzoo"):
        missing = isinstance(error, ModuleNotFoundError)  # PyTorch and the runtimes are installed apart, by the machine
        problem = "is not installed. Run: trtzoo setup" if missing else f"cannot be loaded: {error}"
        return f"{error.name} {problem}", MachineError.exit_code
    if not isinstance(error, OSError):
        return None
    place = f"{error.filename}: " if error.filename else ""
    if not place and error.errno in (errno.ENOSPC, errno.EIO):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush fails again
        place = "The output could not be written: "
    return f"{place}{error.strerror or error}.", 1


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
        from trtzoo.core.console import log, show_messages

        _occupy_descriptors()
        show_messages()
        _prepare_stdout()
        try:
            from trtzoo.cli.application import app, load

            try:
                load(sys.argv[1:])
                app(prog_name="trtzoo")
            finally:
                sys.stdout.flush()
        except Exception as error:
            if interrupts or not (explained := _explain(error)):
                raise
            sentence, code = explained
            log.error("trtzoo: %s", sentence)
            sys.exit(code)
    except BaseException as error:  # a library may turn the interrupt into an error of its own
        if not interrupts:
            raise
        print(f"\ntrtzoo: {error if isinstance(error, InterruptError) else 'Interrupted.'}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # sys.exit would end with signal 2 if the interrupt came while a C extension ran Python code
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit code is decided; the interpreter still takes a moment
