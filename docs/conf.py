"""Sphinx: Markdown pages by MyST, reference by autodoc, the theme is furo. Nothing is fetched while building."""

import re
from importlib.metadata import version as installed_version

project = "trtzoo"
author = "The trtzoo developers"
copyright = "2026, The trtzoo developers"
version = release = installed_version("trtzoo")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = False
default_role = "code"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"trtzoo {version}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_theme_options = {
    "source_repository": "https://github.com/trtzoo/trtzoo/",
    "source_branch": "main",
    "source_directory": "docs/",
}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}


def plain_docstring(app: object, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Docstrings are prose, not reStructuredText: escape what has a meaning there, and keep listings and examples."""
    text = "\n".join(lines)
    blocks = re.split(r"\n\s*\n", text)
    lines[:] = "\n\n".join(_literal(block) if _drawn(block) else _escaped(block) for block in blocks).split("\n")


def _drawn(block: str) -> bool:
    """Whether a block's lines must not be filled: an indented listing, or an example."""
    return block.lstrip().startswith(">>>") or all(line.startswith("    ") for line in block.split("\n"))


def _literal(block: str) -> str:
    if block.lstrip().startswith(">>>"):
        return block
    return "::\n\n" + "\n".join(f"    {line}" for line in block.split("\n"))


def _escaped(block: str) -> str:
    parts = re.split(r"(`[^`]*`)", " ".join(block.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in parts)


def setup(app: object) -> None:
    app.connect("autodoc-process-docstring", plain_docstring)  # type: ignore[attr-defined]
