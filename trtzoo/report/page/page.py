"""Write results into one HTML file that needs no network and whose content security policy forbids every host.

The plotting script is vega-embed from the installed vl-convert-python. Marks are SVG with a description each, and expressions
are interpreted, so the policy needs no eval. All text is escaped: in HTML by Jinja, in JSON below.

A column of the table of cells is a row of COLUMNS.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import vl_convert
from markupsafe import Markup

from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.console import printable
from trtzoo.core.records import Identity
from trtzoo.models.table import MODELS, zoo
from trtzoo.report.audit import findings
from trtzoo.report.explain import explain
from trtzoo.report.page.rows import PageRow, measured, published
from trtzoo.report.published import all_cells, document, read_toml
from trtzoo.report.results import OTHER, Found, place
from trtzoo.report.roofline import work_of
from trtzoo.report.tables.accuracy import accuracy_table, evaluation_tables
from trtzoo.report.tables.model import DASH, Column
from trtzoo.report.tables.verdicts import tables as verdict_tables
from trtzoo.report.verdict import Verdict


def _ms(seconds: float | None) -> str:
    return DASH if seconds is None else f"{seconds * 1000:.2f}"


def _interval(cell: PageRow) -> str:
    return DASH if cell.low is None else f"{_ms(cell.low)} to {_ms(cell.high)}"


def _published(cell: PageRow) -> str:
    """The published latency, and its GPU beside a measured latency."""
    beside = cell.gpu.removeprefix("Tesla ") if cell.state != "published" else ""
    return f"{_ms(cell.published)} {beside}".rstrip()


def _state(cell: PageRow) -> str:
    state = ", ".join([cell.state, *cell.marks])
    return f"{state}: {cell.note}" if cell.note else state


class PageColumn(Column[PageRow], frozen=True, kw_only=True):
    """A column of the table of cells, sorted by the field `key`; `wide` columns are hidden on a phone."""

    key: str
    number: bool = False
    wide: bool = False


COLUMNS = (
    PageColumn("Model", lambda cell: cell.model, key="model"),
    PageColumn("Precision", lambda cell: cell.precision.upper(), key="precision", wide=True),
    PageColumn("Batch", lambda cell: cell.batch, key="batch", number=True, wide=True),
    PageColumn("Device", lambda cell: cell.device, key="device", wide=True),
    PageColumn("Runtime", lambda cell: cell.runtime, key="runtime", wide=True),
    PageColumn("Protocol", lambda cell: cell.protocol, key="protocol", wide=True),
    PageColumn("Measured, ms", lambda cell: _ms(cell.seconds), key="seconds", number=True),
    PageColumn("95 % interval, ms", _interval, key="low", number=True, wide=True),
    PageColumn("p99, ms", lambda cell: _ms(cell.p99), key="p99", number=True, wide=True),
    PageColumn("Published, ms", _published, key="published", number=True),
    PageColumn("Ratio", lambda cell: cell.ratio, "{:.2f}", key="ratio", number=True),
    PageColumn("Share of limit", lambda cell: cell.share, "{:.0%}", key="share", number=True, wide=True),
    PageColumn("Pays", lambda cell: cell.verdict or None, key="verdict", wide=True),
    PageColumn("State", _state, key="state", wide=True),
)

LABELS = read_toml("looks.toml")["families"]  # of families in the legend
FILTERS = ("device", "runtime", "protocol", "precision", "batch", "state")  # the fields with a filter above the table


def page(
    found: Sequence[Found],
    evaluations: Sequence[Evaluation],
    complaints: Sequence[str],
    *,
    folder: Path,
    verdicts: Sequence[Verdict] = (),
) -> bytes:
    """Make the whole file, in UTF-8. `folder` is where the results are from; `complaints` are about the files skipped there."""

    def order(row: Found) -> tuple[Any, ...]:
        case = row.result.case
        kind = (case.device, case.runtime, case.protocol, case.conditions, case.precision, case.batch)
        return (*kind, place(row.result.subject))

    found, printed_rows = sorted(found, key=order), published(all_cells())
    cells = [*(measured(row.result, evaluations, verdicts) for row in found), *printed_rows]
    columns = [column for column in COLUMNS if column.key != "verdict" or any(cell.verdict for cell in cells)]
    source, known = document().source, PROTOCOLS["paddle2020"].note
    printed = {"Source": f"{source.name}, {source.document}", "Protocol": f"the publisher's, as far as known: {known}"}
    shown = ("Latency", "Published", "Doubts")  # a row has these itself
    facts = [{name: words for name, words in explain(row, verdicts).items() if name not in shown} for row in found]
    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), _asset("charts.js") + _asset("page.js")
    library, script = (text.replace("</script", r"<\/script") for text in scripts)
    style = _style(columns)
    policy = f"default-src 'none'; script-src {_hash(library)} {_hash(script)}; style-src {_hash(style)}; img-src data:; "
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_printable, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.from_string(_asset("page.html")).render(
        policy=policy + "base-uri 'none'; form-action 'none'",
        style=Markup(style),
        library=Markup(library),
        script=Markup(script),
        data=Markup(_data(cells, [*facts, *[printed] * len(printed_rows)], [row.result.subject for row in found])),
        cells=cells,
        kinds=[LABELS.get(name, {}).get("label", name) for name in _kinds(_families(cells))],
        columns=columns,
        choices={name: map(str, sorted({getattr(cell, name) for cell in cells})) for name in FILTERS},
        tables=[*verdict_tables(verdicts), accuracy_table(), *evaluation_tables(evaluations)],
        findings=[(verdict, list(rows)) for verdict, rows in groupby(findings(), key=lambda row: row.verdict)],
        protocols=[PROTOCOLS[name] for name in sorted({row.result.case.protocol for row in found})],
        count=len(found),
        complaints=complaints,
        folder=folder,
    )
    return html.encode()


def _printable(value: object) -> object:
    """What a template's expression shows; the page's own scripts and style are Markup."""
    return value if isinstance(value, Markup) else printable(str(value))


def _data(cells: Sequence[PageRow], facts: Sequence[dict[str, str]], subjects: Iterable[Identity]) -> str:
    """Return the script's data as JSON in which an HTML parser finds neither an end tag nor a comment.

    Each text is stored once: a cell's facts are indices, name and text alternating. Numbers have seven digits: more would only
    make the page larger. `models` are the points of the two figures without measurements.
    """
    texts: dict[str, int] = {}

    def index(text: str) -> int:
        return texts.setdefault(printable(text), len(texts))

    rounded = json.loads(msgspec.json.encode(cells), parse_float=lambda digits: float(f"{float(digits):.7g}"))
    for cell, named in zip(rounded, facts, strict=True):
        cell |= {name: printable(text) for name, text in cell.items() if isinstance(text, str)}
        cell["facts"] = [index(text) for fact in named.items() for text in fact]
    families = _families(cells)
    data = {"cells": rounded, "texts": list(texts), "models": _models(subjects, cells), "families": families}
    data["kinds"] = _kinds(families)
    return msgspec.json.encode(data).decode().replace("<", r"\u003c")


def _families(cells: Iterable[PageRow]) -> dict[str, str]:
    """Return the family of each network by its title."""
    shipped = {name: MODELS[name].family for name in document().models}
    return shipped | {name: row.family for name, row in zoo().items()} | {cell.model: cell.family for cell in cells}


def _kinds(families: Mapping[str, str]) -> list[str]:
    """Return the families in the order of their colours: those of the published networks, the others by name."""
    known = [row.family for row in MODELS.values()]
    return sorted(
        {*families.values()}, key=lambda name: (known.index(name) if name in known else len(known), name == OTHER, name)
    )


def _models(subjects: Iterable[Identity], cells: Iterable[PageRow]) -> list[dict[str, Any]]:
    """Return the points of the figures of counts: the published networks, and every other that was measured."""
    found: list[dict[str, Any]] = [
        {
            "model": name,
            "top1": row.top1,
            "published": {"flops": row.gflops, "params": row.mparams},
            "exact": {"flops": MODELS[name].flops / 1e9, "params": MODELS[name].params / 1e6},
        }
        for name, row in document().models.items()
    ]
    evaluated = {cell.model: cell.top1 for cell in cells if cell.evaluated}
    others = {each.title: work_of(each) for each in sorted(subjects, key=place) if not each.published}
    for name, work in others.items():
        if work:
            row = {"model": printable(name), "exact": {"flops": work.flops / 1e9, "params": work.params / 1e6}}
            found.append(row | ({"top1": evaluated[name]} if name in evaluated else {}))
    return found


def _style(columns: Sequence[PageColumn]) -> str:
    """Return the CSS. Columns are addressed by position: a class on each of some ten thousand cells would be large."""
    numbers, wide = (
        ", ".join(f"#cells tr > :nth-child({place})" for place, column in enumerate(columns, start=1) if getattr(column, kind))
        for kind in ("number", "wide")
    )
    rules = f"{numbers} {{ text-align: right; }}\n@media (max-width: 44rem) {{ {wide} {{ display: none; }} }}\n"
    return _asset("page.css") + rules


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (files("trtzoo.report.page") / "assets" / name).read_text("utf-8")
