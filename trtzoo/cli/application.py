"""The Typer application, to which each command adds itself, and how commands call, fail and print."""

import importlib
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup

from trtzoo.core.console import print_lines, print_result, show_messages
from trtzoo.core.errors import UsageError
from trtzoo.models.table import VARIABLE, use_zoo

T = TypeVar("T")


class Command(TyperCommand):
    """A command takes `--quiet` and `--zoo` too, and returns whether a part failed; then the exit code is 1."""

    def get_params(self, ctx: Any) -> Any:
        shared = [option for option in ctx.find_root().command.params if option.name in ("quiet", "zoo_file")]
        return [*self.params, *shared, *super().get_params(ctx)[len(self.params) :]]

    def invoke(self, ctx: Any) -> None:
        for name, value in ctx.params.items():  # what is recorded as JSON is Unicode; an image's path is not recorded
            text = "" if name == "data" else str(value)
            if text.encode(errors="replace").decode() != text:
                raise UsageError(f"{str(value)!r} is not a name in UTF-8, so it cannot be recorded. Rename it.")
        if super().invoke(ctx):
            raise typer.Exit(1)


class Application(TyperGroup):
    """All commands; the list shows the first paragraph of each one's help uncut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            first = {name: (row.help or "").split("\n\n", maxsplit=1)[0] for name, row in self.commands.items()}
            formatter.write_dl([(name, " ".join(text.split())) for name, text in first.items()])


app = typer.Typer(
    name="trtzoo",
    cls=Application,
    help="TensorRT engines and trustworthy latencies for image classifiers: export → build → bench → table.",
    epilog="Exit codes: 0 done; 1 something failed and the rest is kept; 2 usage error; 3 this machine cannot do it; "
    "130 interrupted by Ctrl-C, and what was finished is kept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
command = partial(app.command, cls=Command)

MODULES = {
    "export": "making",
    "build": "making",
    "bench": "measuring",
    "import": "trtexec",
    "eval": "checking",
    "parity": "checking",
    "verdict": "judging",
    "table": "showing",
    "figures": "showing",
    "report": "showing",
    "compare": "showing",
    "audit": "describing",
    "models": "describing",
    "doctor": "describing",
    "clean": "cleaning",
    "setup": "setup",
}  # in the order of the help


def load(words: Iterable[str]) -> None:
    """Import the modules of the commands that a command line may mean, so that a light command loads no other; or all."""
    named = {MODULES[word] for word in words if word in MODULES}
    for module in dict.fromkeys(MODULES.values()):
        if module in named or not named:
            importlib.import_module(f"trtzoo.cli.{module}")


def _set_quiet(quiet: bool) -> None:
    if quiet:
        show_messages(quiet=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_result(f"trtzoo {version('trtzoo')}")
        raise typer.Exit


def _set_zoo(context: typer.Context, file: Path | None) -> None:
    with suppress(UsageError) if context.resilient_parsing else nullcontext():  # a completion has no messages
        if file:
            use_zoo(file)


QUIET = "Print errors and the warning about seeded weights only."


@app.callback()
def root(
    quiet: Annotated[bool, typer.Option("--quiet", help=QUIET, callback=_set_quiet, expose_value=False)] = False,
    zoo_file: Annotated[
        Path | None,
        typer.Option(
            "--zoo",
            metavar="FILE",
            help=f"A TOML file of networks to use instead of the zoo that ships; so does the variable {VARIABLE}.",
            callback=_set_zoo,
            expose_value=False,
        ),
    ] = None,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, expose_value=False, is_eager=True
        ),
    ] = False,
) -> None:
    """Every command works on the models of `trtzoo models`."""


def forward(function: Callable[..., T], options: dict[str, Any], **handlers: Callable[..., None]) -> T:
    """Call a public function with those of a command's arguments that it has, by name."""
    names = inspect.signature(function).parameters.keys() & options.keys()
    return function(**{name: options[name] for name in names}, **handlers)


def print_json(value: object) -> None:
    """Print a value as the result."""
    print_lines(msgspec.json.format(msgspec.json.encode(value), indent=2).decode().split("\n"))


def print_value(value: T, form: str, text: Callable[[T, int], str]) -> None:
    """Print a value as JSON, or as text; lines are wrapped at the terminal's width, or not at all where there is none.

    The environment variable COLUMNS names another width.
    """
    if form == "json":
        print_json(value)
    else:
        known = sys.stdout.isatty() or os.environ.get("COLUMNS")
        width = shutil.get_terminal_size().columns if known else sys.maxsize
        print_lines(text(value, width).split("\n"))
