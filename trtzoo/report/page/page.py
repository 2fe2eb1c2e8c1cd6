"""Write results into one HTML file that needs no network and whose content security policy forbids every host.

The plotting script is vega-embed from the installed vl-convert-python. Marks are SVG with a description each, and expressions
are interpreted, so the policy needs no eval. All text is escaped: in HTML by Jinja, in JSON below.

A column of the table of cells is a row of COLUMNS.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
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
from trtzoo.models.table import MODELS
from trtzoo.report.audit import findings
from trtzoo.report.explain import explain
from trtzoo.report.page.rows import PageRow, measured, published
from trtzoo.report.published import document
from trtzoo.report.results import Found
from trtzoo.report.tables.accuracy import accuracy_table, evaluation_tables
from trtzoo.report.tables.model import DASH

ASSETS = files("trtzoo.report.page") / "assets"


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


def _number(form: str, value: Callable[[PageRow], float | None]) -> Callable[[PageRow], str]:
    return lambda cell: DASH if (number := value(cell)) is None else form.format(number)


class PageColumn(msgspec.Struct, frozen=True):
    """A column of the table of cells, sorted by the field `key`; `wide` columns are hidden on a phone."""

    key: str
    title: str
    text: Callable[[PageRow], str]
    number: bool = False
    wide: bool = False


COLUMNS = (
    PageColumn("model", "Model", lambda cell: cell.model),
    PageColumn("precision", "Precision", lambda cell: cell.precision.upper(), wide=True),
    PageColumn("batch", "Batch", lambda cell: str(cell.batch), number=True, wide=True),
    PageColumn("device", "Device", lambda cell: cell.device, wide=True),
    PageColumn("runtime", "Runtime", lambda cell: cell.runtime, wide=True),
    PageColumn("protocol", "Protocol", lambda cell: cell.protocol, wide=True),
    PageColumn("seconds", "Measured, ms", lambda cell: _ms(cell.seconds), number=True),
    PageColumn("low", "95 % interval, ms", _interval, number=True, wide=True),
    PageColumn("p99", "p99, ms", lambda cell: _ms(cell.p99), number=True, wide=True),
    PageColumn("published", "Published, ms", _published, number=True),
    PageColumn("ratio", "Ratio", _number("{:.2f}", lambda cell: cell.ratio), number=True),
    PageColumn("share", "Share of limit", _number("{:.0%}", lambda cell: cell.share), number=True, wide=True),
    PageColumn("state", "State", _state, wide=True),
)

FILTERS = ("device", "runtime", "protocol", "precision", "batch", "state")
"""The fields with a filter above the table."""

LIBRARY = "window.vegaEmbed = vegaEmbed;"
"""The bundle's interface to the page's own script."""

PRINTED = {
    "Source": f"{document().source.name}, {document().source.document}",
    "Protocol": f"the publisher's, as far as known: {PROTOCOLS['paddle2020'].note}",
}
"""The facts of a published number."""


def page(found: Sequence[Found], evaluations: Sequence[Evaluation], complaints: Sequence[str], *, folder: Path) -> bytes:
    """Make the whole file, in UTF-8. `folder` is where the results are from; `complaints` are about the files skipped there."""
    rows = [(measured(row.result, evaluations), _facts(row)) for row in sorted(found, key=_order)]
    rows += [(cell, PRINTED) for cell in published()]
    cells = [cell for cell, _ in rows]
    library, script = _inline(vl_convert.javascript_bundle(LIBRARY)), _inline(_asset("charts.js") + _asset("page.js"))
    style = _style()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(_asset("page.html")).render(
        policy=_policy(scripts=[library, script], style=style),
        style=Markup(style),
        library=Markup(library),
        script=Markup(script),
        data=Markup(_json(_payload(rows))),
        cells=cells,
        columns=COLUMNS,
        choices={name: _choices(cells, name) for name in FILTERS},
        tables=[accuracy_table(), *evaluation_tables(evaluations)],
        findings=[(verdict, list(rows)) for verdict, rows in groupby(findings(), key=lambda row: row.verdict)],
        protocols=[PROTOCOLS[name] for name in sorted({row.result.case.protocol for row in found})],
        count=len(found),
        complaints=complaints,
        folder=folder,
    )
    return html.encode("utf-8", "replace")


def _order(row: Found) -> tuple[Any, ...]:
    case = row.result.case
    kind = (case.device, case.runtime, case.protocol, str(case.cuda_graph), case.precision, case.batch)
    return (*kind, list(MODELS).index(case.model))


def _facts(row: Found) -> dict[str, str]:
    """Return the facts of a result that its PageRow does not have."""
    return {name: words for name, words in explain(row).items() if name not in ("Latency", "Published", "Doubts")}


def _payload(rows: Sequence[tuple[PageRow, dict[str, str]]]) -> dict[str, Any]:
    """Return the script's data. Each text is stored once: a cell's facts are indices, name and text alternating."""
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        whole = text.encode("utf-8", "replace").decode()  # a file name may have bytes that are not text
        return texts.setdefault(whole, len(texts))

    cells = [
        _rounded(msgspec.to_builtins(cell)) | {"facts": [place(text) for fact in facts.items() for text in fact]}
        for cell, facts in rows
    ]
    return {"cells": cells, "texts": list(texts), "models": _models()}


def _rounded(value: Any) -> Any:
    """Round every number to seven digits: more would only make the page larger."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _models() -> list[dict[str, Any]]:
    """Return the points of the two figures without measurements."""
    return [
        {
            "model": name,
            "family": MODELS[name].family,
            "top1": row.top1,
            "published": {"flops": row.gflops, "params": row.mparams},
            "exact": {"flops": MODELS[name].flops / 1e9, "params": MODELS[name].params / 1e6},
        }
        for name, row in document().models.items()
    ]


def _choices(cells: list[PageRow], name: str) -> list[str]:
    """Return a filter's values, sorted."""
    return [str(value) for value in sorted({getattr(cell, name) for cell in cells})]


def _style() -> str:
    """Return the CSS. Columns are addressed by position: a class on each of some ten thousand cells would be large."""
    numbers, wide = (
        ", ".join(f"#cells tr > :nth-child({place})" for place, column in enumerate(COLUMNS, start=1) if getattr(column, kind))
        for kind in ("number", "wide")
    )
    rules = f"{numbers} {{ text-align: right; }}\n@media (max-width: 44rem) {{ {wide} {{ display: none; }} }}\n"
    return _asset("page.css") + rules


def _json(value: Any) -> str:
    """Encode as JSON in which an HTML parser finds neither an end tag nor a comment."""
    return msgspec.json.encode(value).decode().replace("<", r"\u003c")


def _policy(*, scripts: list[str], style: str) -> str:
    """Allow these scripts and styles only: no host, no eval, no frame, no form."""
    allowed = {"default-src": ["'none'"], "script-src": map(_hash, scripts), "style-src": [_hash(style)], "img-src": ["data:"]}
    closed = {name: ["'none'"] for name in ("base-uri", "form-action")}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in (allowed | closed).items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inline(script: str) -> str:
    """Escape a script for HTML."""
    return script.replace("</script", r"<\/script")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")
