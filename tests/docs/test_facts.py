"""Facts that the pages state in prose are the program's."""

import json
import re
from pathlib import Path

from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.benchmark.warnings import WARNINGS
from trtzoo.models.sources import PUBLISHERS, SEEDED
from trtzoo.models.table import MODELS
from trtzoo.report.published import document
from trtzoo.report.roofline import limit_of_published
from trtzoo.verification.tolerances import parity_limit

DOCS = Path(__file__).parent.parent.parent / "docs"


def column(page, heading):
    """The code in the first column of the tables below a heading."""
    text = (DOCS / page).read_text().split(f"\n{heading}\n")[1].split("\n## ")[0]
    return re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)))


def test_the_protocols_are_listed_with_their_statistic_and_metric():
    assert sorted(column("methodology.md", "## Protocols")) == sorted(PROTOCOLS)
    text = (DOCS / "methodology.md").read_text()
    for row in PROTOCOLS.values():
        assert f"| `{row.name}` | {row.statistic} of {row.metric} |" in text


def test_the_warnings_are_listed():
    assert column("methodology.md", "## Warnings") == list(WARNINGS)


def test_the_sources_of_weights_are_listed():
    assert column("getting-started.md", "## Weights") == [*PUBLISHERS, SEEDED]


def test_the_limits_of_parity_are_the_programs():
    listed = column("accuracy-and-parity.md", "## Parity")
    assert listed == ["fp32", "fp16", "tf32", "bf16"]
    limits = [[f"{parity_limit(name, runtime):.1e}" for runtime in ("onnxruntime", "tensorrt")] for name in listed]
    assert limits == [["4.0e-05", "9.0e-05"], *[["2.0e-02", "2.0e-02"]] * 2, ["1.6e-01", "1.6e-01"]]
    text = (DOCS / "accuracy-and-parity.md").read_text()
    assert "| `fp32` | 4e-5 | 9e-5 |\n| `fp16`, `tf32` | 2e-2 | 2e-2 |\n| `bf16` | 1.6e-1 | 1.6e-1 |\n" in text


def test_the_exit_codes_are_listed():
    assert re.findall(r"^\| (\d+) \|", (DOCS / "cli.md").read_text(), re.MULTILINE) == ["0", "1", "2", "3", "130"]


def best_share(precision):
    shares = []
    for model, by_batch in document().latency["t4"][precision].items():
        for batch in by_batch:
            size = int(batch.removeprefix("b"))
            limit = limit_of_published("t4", MODELS[model], precision, size)
            shares.append(limit.seconds / document().seconds("t4", precision, model, size))
    return max(shares)


def test_the_best_shares_of_the_limit_are_the_programs():
    words = f"reaches {best_share('fp32'):.0%} in FP32 and {best_share('fp16'):.0%} in FP16".replace("%", " %")
    assert words in (DOCS / "tables-and-page.md").read_text()


def test_the_findings_of_the_audit_are_the_programs(trtzoo):
    text, found = (DOCS / "tables-and-page.md").read_text(), json.loads(trtzoo("audit", "--format", "json").stdout)
    rows = found if isinstance(found, list) else found["findings"]
    claims = [row["claim"] for row in rows]
    too_small = max(float(share) for claim in claims for share in re.findall(r"-([\d.]+)% off", claim))
    smaller = max(float(times) for claim in claims for times in re.findall(r"is ([\d.]+) times the latency", claim))
    apart = [float(times) for claim in claims for times in re.findall(r"limits are ([\d.]+)-fold apart", claim)]
    assert f"up to {too_small} % too small" in text
    assert f"up to {smaller} times smaller" in text
    assert len(apart) == 9 and f"{min(apart)} to {max(apart)} times apart" in text
