"""The page: results → one HTML file that needs no network and, by its own policy, may reach no host.

The plotting script is vega-embed, taken out of the installed vl-convert-python: marks are SVG with a description each, and
expressions are interpreted, so the policy needs no eval. All text of results is escaped: by Jinja in HTML, in JSON below.
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
    """The number, and whose it is where it stands beside another's."""
    beside = cell.gpu.removeprefix("Tesla ") if cell.state != "published" else ""
    return f"{_ms(cell.published)} {beside}".rstrip()


def _state(cell: PageRow) -> str:
    state = ", ".join([cell.state, *cell.marks])
    return f"{state}: {cell.note}" if cell.note else state


class PageColumn(msgspec.Struct, frozen=True):
    """A column of the table of cells. `key` is what it is sorted by; `wide` ones are left out on a phone."""

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
    PageColumn("ratio", "Ratio", lambda cell: DASH if cell.ratio is None else f"{cell.ratio:.2f}", number=True),
    PageColumn(
        "share", "Share of limit", lambda cell: DASH if cell.share is None else f"{cell.share:.0%}", number=True, wide=True
    ),
    PageColumn("state", "State", _state, wide=True),
)

FILTERS = ("device", "runtime", "protocol", "precision", "batch", "state")
"""The fields that the table is filtered by."""

LIBRARY = "window.vegaEmbed = vegaEmbed;"
"""What the bundle gives to the page's own script."""

PRINTED = {
    "Source": f"{document().source.name}, {document().source.document}",
    "Protocol": f"the publisher's, as far as it is known: {PROTOCOLS['paddle2020'].note}",
}
"""What is known of a published number."""


def page(found: Sequence[Found], evaluations: Sequence[Evaluation], complaints: Sequence[str], *, folder: Path) -> bytes:
    """The whole file, UTF-8. `folder` is where results were looked for; `complaints` tell what was skipped there."""
    rows = [(measured(row.result, evaluations), _facts(row)) for row in sorted(found, key=_order)]
    rows += [(cell, PRINTED) for cell in published()]
    cells = [cell for cell, _ in rows]
    library, script = _inline(vl_convert.javascript_bundle(LIBRARY)), _inline(_asset("charts.js") + _asset("page.js"))
    style = _style()
    html = _template().render(
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
    """All that is known of a result, less what its Cell tells."""
    return {name: words for name, words in explain(row).items() if name not in ("Latency", "Published", "Doubts")}


def _payload(rows: Sequence[tuple[PageRow, dict[str, str]]]) -> dict[str, Any]:
    """What the script works on. Texts are there once: a cell's facts are indices, name and words in turns."""
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        whole = text.encode("utf-8", "replace").decode()  # a file's name may hold bytes that are no text
        return texts.setdefault(whole, len(texts))

    cells = [
        _rounded(msgspec.to_builtins(cell)) | {"facts": [place(text) for fact in told.items() for text in fact]}
        for cell, told in rows
    ]
    return {"cells": cells, "texts": list(texts), "models": _models()}


def _rounded(value: Any) -> Any:
    """Seven digits of every number: more would only make the page larger."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _models() -> list[dict[str, Any]]:
    """The points of the two figures that need no measurement."""
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
    """A filter's values, numbers by size, the rest by letter."""
    return [str(value) for value in sorted({getattr(cell, name) for cell in cells})]


def _style() -> str:
    """The page's, with the columns' own rules by place: a class in each of some ten thousand cells would be heavy."""
    numbers, wide = (
        ", ".join(f"#cells tr > :nth-child({place})" for place, column in enumerate(COLUMNS, start=1) if getattr(column, kind))
        for kind in ("number", "wide")
    )
    rules = f"{numbers} {{ text-align: right; }}\n@media (max-width: 44rem) {{ {wide} {{ display: none; }} }}\n"
    return _asset("page.css") + rules


def _json(value: Any) -> str:
    """JSON that no HTML parser finds an end or a comment in."""
    return msgspec.json.encode(value).decode().replace("<", r"\u003c")


def _policy(*, scripts: list[str], style: str) -> str:
    """Nothing but these very scripts and styles: no host, no eval, no frame, no form."""
    allowed = {"default-src": ["'none'"], "script-src": map(_hash, scripts), "style-src": [_hash(style)], "img-src": ["data:"]}
    closed = {name: ["'none'"] for name in ("base-uri", "form-action")}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in (allowed | closed).items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inline(script: str) -> str:
    """A script that can stand in HTML."""
    return script.replace("</script", r"<\/script")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("page.html"))
