"""What is said of a release in several places is the same."""

import re
from importlib.metadata import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_newest_entry_of_the_changelog_is_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == metadata("trtzoo")["Version"]


def test_the_licence_is_the_same_in_the_metadata_and_the_readme():
    assert metadata("trtzoo")["License-Expression"] == "Apache-2.0"
    assert "Apache-2.0" in (ROOT / "README.md").read_text()


def test_no_folder_of_results_shadows_a_package():
    for folder in ("onnx", "engines"):
        assert not list((ROOT / folder).rglob("*.py"))
