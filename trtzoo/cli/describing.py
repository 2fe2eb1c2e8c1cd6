"""`trtzoo audit`, `models` and `doctor`: the published numbers, the networks and this machine."""

from operator import itemgetter
from pathlib import Path
from textwrap import TextWrapper
from typing import Annotated

from typer import Option

from trtzoo.builder.plan import pluralize
from trtzoo.cli import options
from trtzoo.cli.application import command, print_value
from trtzoo.core.console import progress_bars
from trtzoo.core.files import size_text
from trtzoo.hardware.clocks import ClockPlan, plan_clocks
from trtzoo.hardware.devices import choose_device, device_line, gpu_devices
from trtzoo.hardware.doctor import Report, examine
from trtzoo.hardware.gpus import GPUS
from trtzoo.hardware.probes import ProbeResult
from trtzoo.models.table import FAMILIES, zoo
from trtzoo.report.audit import Finding, findings
from trtzoo.report.published import document
from trtzoo.report.tables.accuracy import accuracy_table
from trtzoo.report.tables.formats import render
from trtzoo.report.tables.model import Column, Table, Value, make_table


@command("audit")
def audit(form: options.TextFormat = "text") -> None:
    """Check the published tables for internal consistency: counts, limits, order, and the publisher's later pages.

    Each finding comes with its evidence.

    Examples: trtzoo audit; trtzoo audit --format json
    """
    print_value(findings(), form, audit_text)


def audit_text(found: list[Finding], width: int) -> str:
    """A heading for each verdict and three lines per finding, wrapped at `width`."""
    wrap = TextWrapper(width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    parts = []
    for verdict in dict.fromkeys(row.verdict for row in found):
        rows = [row for row in found if row.verdict == verdict]
        parts.append(f"{verdict.upper()}: {len(rows)}")
        parts += [f"{row.subject} ({row.check})\n{wrap.fill(row.claim)}\n{wrap.fill(row.evidence)}" for row in rows]
    return "\n\n".join(parts)


@command("models")
def models(
    form: options.Format = "rich",
    count: Annotated[bool, Option("--count", help="Recount from the networks, by both conventions.")] = False,
) -> None:
    """List the networks of the zoo: accuracy, FLOPs and parameters, published and exact.

    Examples: trtzoo models; trtzoo models --count; trtzoo models --format json
    """
    print(render([_recount() if count else accuracy_table()], form), end="")


def _recount() -> Table:
    """The networks' own counts by both conventions beside the published ones."""
    from trtzoo.models.count import count

    rows: list[tuple[Value, ...]] = []
    for name, model in zoo().items():
        if model.family not in FAMILIES:
            continue
        exact, old, printed = count(model), count(model, "paddle2019"), document().models.get(model.network)
        flops, params = old.flops / 1e9, old.params / 1e6
        published = (printed.gflops, printed.mparams) if printed else (None, None)
        same = None if not printed else "yes" if (round(flops, 2), round(params, 2)) == published else "no"
        rows.append((name, exact.flops / 1e9, flops, published[0], exact.params / 1e6, params, published[1], same))
    counts = [f"{what} {source}" for what in ("FLOPs (G)", "Params (M)") for source in ("exact", "2019", "published")]
    forms = {"Model": "{}"} | dict.fromkeys(counts, "{:.2f}") | {"same": "{}"}
    columns = [Column(name, itemgetter(index), form) for index, (name, form) in enumerate(forms.items())]
    return make_table("Counted from the networks", columns, rows, accuracy_table().caption)


@command("doctor")
def doctor(
    gpu: Annotated[
        str | None,
        Option(
            help="Print the commands that lock this GPU's clocks, and those that undo it: its name such as t4, or auto.",
            autocompletion=options.one_of(["auto", *GPUS]),
        ),
    ] = None,
    device: options.GpuDevice = None,
    form: options.TextFormat = "text",
) -> None:
    """Show what this machine has, what it can export, build and run, and what to install for the rest.

    With --gpu or --device, print how to lock the clocks of that GPU. trtzoo sets nothing.

    Examples: trtzoo doctor; trtzoo doctor --format json; trtzoo doctor --gpu t4
    """
    if gpu is not None or device is not None:
        print_value(plan_clocks(choose_device(gpu or "auto", device)), form, clocks_text)
        return
    with progress_bars() as bars:
        bars.add_task("probing the libraries and the driver", total=None)
        found = examine(Path())
    print_value(found, form, doctor_text)


def clocks_text(plan: ClockPlan, width: int) -> str:
    """The commands with comments, as a shell takes them; `width` is not used: a command must not be wrapped."""
    name, (clock, maximum) = device_line(plan.device), (hertz / 1e6 for hertz in (plan.clock, plan.maximum))
    lines = [f"# {name}", f"# Lock the SM clock at {clock:.0f} of {maximum:.0f} MHz, {plan.reason}:", *plan.lock]
    return "\n".join([*lines, "# Undo:", *plan.undo])


def doctor_text(report: Report, width: int) -> str:
    """Blocks of lines: what was found, what can be done, what to install and what takes space, wrapped at `width`."""
    found = {"trtzoo": report.trtzoo, "Python": f"{report.python}, {report.system}"}
    found |= {name: _found(answer) for name, answer in report.found.items()}
    abilities = {row.name: f"{'yes' if row.can else 'no '}  {row.why}" for row in report.abilities}
    remedies = {row.name: row.remedy for row in report.abilities if row.remedy}
    sizes = {}
    for row in report.folders:
        sizes[row.name] = f"{size_text(row.bytes)} in {pluralize(row.files, 'file')}"
        if row.path != row.name:  # in a line of its own: a path is not wrapped
            sizes[f"  {row.path}"] = ""
    wrap = TextWrapper(width, subsequent_indent=" " * 24, break_long_words=False, break_on_hyphens=False)
    blocks = [
        [wrap.fill(f"{name:<24}{value}".rstrip()) for name, value in block.items()]
        for block in (found, abilities, remedies, sizes)
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _found(answer: ProbeResult) -> str:
    if answer.error:
        return answer.error
    devices = [f"{device_line(device)} (SM{device.sm}, {device.memory / 2**30:.0f} GiB)" for device in gpu_devices(answer)]
    built = f" for CUDA {answer.cuda}" if answer.cuda else ""
    unusable = [f"{name} does not load: {reason}" for name, reason in answer.unusable.items()]
    return "  ".join([answer.version + built, *devices, ", ".join(answer.features), *unusable]).rstrip()
