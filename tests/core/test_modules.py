"""Registries and optional packages."""

import subprocess
import sys

import pytest

from trtzoo.core.errors import MachineError
from trtzoo.core.modules import require_module


def test_the_command_for_an_extra_needs_no_trtzoo_on_a_package_index():
    with pytest.raises(MachineError) as raised:
        require_module("trtzoo figures", module="no_such_module", extra="report")
    sentence, _, command = str(raised.value).partition(" Run: ")
    assert sentence == "trtzoo figures needs no_such_module, which is not installed."
    pip, *words = command.replace("'", "").split()
    assert pip == "pip"
    offline = [sys.executable, "-m", "pip", *words, "--dry-run", "--no-index", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
