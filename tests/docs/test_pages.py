"""README and docs name nothing that does not exist, and their generated parts are complete."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from trtzoo.cli.commands import app

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.yml")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)+)`")
SUFFIXES = {"", ".py", ".md", ".toml", ".svg", ".png", ".yml"}
MADE = ("benchmarks/TABLES.md", "benchmarks/plots", "benchmarks/report.html")
"""Files that `make table` writes."""
EXAMPLES = ("trtzoo/runtimes/onnxruntime_plain.py",)
"""Files that a worked example creates."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@each_page
def test_every_path_in_backticks_exists(page):
    tracked = set(subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    folders = {str(parent) for name in tracked for parent in Path(name).parents}
    for name in NAMED.findall(page.read_text()):
        first = name.split("/")[0]
        if first in folders and Path(name).suffix in SUFFIXES and name not in (*MADE, *EXAMPLES):
            assert (ROOT / name).exists(), name


def test_the_readme_is_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_pictures_of_the_pages_are_small():
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures and all(picture.stat().st_size < 200_000 for picture in pictures)


def test_every_figure_of_the_benchmarks_is_shown_once():
    shown = re.findall(r"<!-- begin: figure ([\w-]+) -->", "".join(page.read_text() for page in PAGES))
    made = [path.stem for path in (ROOT / "benchmarks" / "figures").glob("*.md") if path.stem != "table"]
    assert sorted(shown) == sorted(made)


def test_every_page_of_the_docs_is_in_the_table_of_contents():
    named = set(re.findall(r"^([\w-]+)$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE))
    assert named == {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}


def command_lines(page):
    """The `trtzoo …` command lines of a page: in shell blocks and in backticks."""
    text = re.sub(r"<!-- begin.*?<!-- end -->", "", page.read_text(), flags=re.DOTALL)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [found[1] for block in blocks for found in re.finditer(r"(?:^\s*|/bin/)(trtzoo [^#\n]+)", block, re.MULTILINE)]
    return [*lines, *re.findall(r"`(trtzoo [^`\n]+)`", text)]


@each_page
def test_every_command_and_option_exists(page):
    program = get_command(app)
    for line in command_lines(page):
        words = line.split()[1:]
        command = program if words[0].startswith("-") else program.commands[words[0]]
        known = {name for row in (program, command) for option in row.params for name in option.opts} | {"--help"}
        named = {word.split("=")[0] for word in words if word.startswith("--")}
        assert named <= known, line


UPSTREAM = {"predict.py", "operators.py", "configure.py", "DPN_DenseNet_en.md", "DPN.md", "DenseNet.md", "TABLES.md"}
"""Files of others, and one that the user makes, which our comments name."""


def test_every_file_that_the_package_s_comments_name_exists():
    names = {path.name for folder in ("trtzoo", "tests", "docs", "benchmarks") for path in (ROOT / folder).rglob("*.*")}
    known = names | {path.name for path in ROOT.iterdir()} | UPSTREAM
    for path in [*(ROOT / "trtzoo").rglob("*.py"), *(ROOT / "trtzoo").rglob("*.toml")]:
        named = {Path(name).name for name in re.findall(r"(?<![\w.])[\w/]+\.(?:py|md)\b", path.read_text())}
        assert named <= known, path.relative_to(ROOT)
