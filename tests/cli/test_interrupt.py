"""Ctrl-C ends every command with exit code 130 and one sentence, at any time after main() begins."""

import os
import subprocess
import sys

import pytest

INTERRUPT_ITSELF = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(5)\n"

CATCH = "try:\n    {}\nexcept KeyboardInterrupt:\n    raise ImportError('a library hides the interrupt') from None\n"


def run(folder, code, *words, module="trtzoo_test_module"):
    """The command line, which imports a module with this code in place of one of ours."""
    (folder / f"{module}.py").write_text(code)
    hook = (
        "import importlib.abc, importlib.util, sys\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {words[0]!r}:\n"
        f"            return importlib.util.spec_from_file_location(name, {str(folder / f'{module}.py')!r})\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    (folder / "sitecustomize.py").write_text(hook)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-m", "trtzoo.cli", *words[1:]]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("imported", "words"),
    [
        ("typer", ["--help"]),
        ("trtzoo.cli.describing", ["models"]),
        ("matplotlib", ["figures"]),
        ("torch", ["export", "dpn68", "--weights", "seeded", "--classes", "10", "--input-size", "32"]),
    ],
)
def test_an_interrupt_while_a_module_loads_is_exit_code_130_and_one_sentence(imported, words, tmp_path):
    done = run(tmp_path, INTERRUPT_ITSELF, imported, *words)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ntrtzoo: Interrupted.\n")


def test_an_interrupt_that_a_library_turns_into_its_own_error_is_still_exit_code_130(tmp_path):
    code = CATCH.format(INTERRUPT_ITSELF.replace("\n", "\n    "))
    done = run(tmp_path, code, "torch", "export", "dpn68", "--weights", "seeded", "--input-size", "32")
    assert (done.returncode, done.stderr) == (130, "\ntrtzoo: Interrupted.\n")


def test_an_interrupt_inside_python_code_that_an_extension_runs_is_still_exit_code_130(tmp_path):
    """The interpreter remembers such an interrupt, and would end with the signal in spite of sys.exit."""
    call = "ctypes.pythonapi.PyRun_String(code, 257, ctypes.py_object({}), ctypes.py_object({}))"
    types = "ctypes.pythonapi.PyRun_String.restype = ctypes.py_object"
    code = f"import ctypes\ncode = {INTERRUPT_ITSELF.encode()!r}\n{types}\n{call}\n"
    done = run(tmp_path, code, "torch", "export", "dpn68", "--weights", "seeded", "--input-size", "32")
    assert (done.returncode, done.stderr) == (130, "\ntrtzoo: Interrupted.\n")


def test_an_interrupt_after_the_command_is_done_does_not_change_its_exit_code(tmp_path):
    code = (
        "import atexit, os, signal, sys; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT));"
        "sys.argv = ['trtzoo', '--version']; from trtzoo.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("trtzoo ")


def test_a_process_in_the_background_keeps_ignoring_interrupts(tmp_path):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['trtzoo', 'models'];"
        "from trtzoo.cli import describing, main;"
        "describing.accuracy_table = lambda: os.kill(os.getpid(), signal.SIGINT) or sys.exit(7); main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")
