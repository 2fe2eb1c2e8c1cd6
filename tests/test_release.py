"""A release says the same thing everywhere."""

import re
import sys
from importlib.metadata import metadata
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
HOME = "https://github.com/trtzoo/trtzoo"


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_newest_entry_of_the_changelog_is_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == metadata("trtzoo")["Version"]


def test_the_licence_is_the_same_in_the_metadata_and_the_readme():
    assert metadata("trtzoo")["License-Expression"] == "Apache-2.0"
    assert "Apache-2.0" in (ROOT / "README.md").read_text()


def test_no_folder_of_results_shadows_a_package():
    for folder in ("onnx", "engines"):
        assert not list((ROOT / folder).rglob("*.py"))


def test_every_url_of_the_project_is_in_its_own_repository():
    assert all(url == HOME or url.startswith(f"{HOME}/") for url in project()["urls"].values())


def test_every_extra_is_in_the_docs_list_of_extras():
    listed = set(re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs" / "getting-started.md").read_text(), re.MULTILINE))
    assert set(project()["optional-dependencies"]) <= listed


def test_the_workflow_runs_the_same_script_as_a_developer():
    assert "bash .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    commands = (ROOT / ".ci" / "run").read_text().splitlines()
    assert commands[-2:] == ["make check", "make test"]


def test_the_command_of_every_commit_hook_is_installed_by_make():
    hooks = re.findall(r"entry: \.venv/bin/([\w-]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    needed = {"ruff": "ruff", "mypy": "mypy", "lint-imports": "import-linter"}
    dev = " ".join(project()["optional-dependencies"]["dev"])
    assert hooks and all(f"{needed[hook]}>=" in dev for hook in hooks)
