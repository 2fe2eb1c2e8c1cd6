"""`trtzoo audit` as a user runs it."""

import json

from trtzoo.cli.describing import audit_text
from trtzoo.report.audit import findings


def test_findings_are_grouped_by_verdict_with_their_evidence(trtzoo):
    done = trtzoo("audit")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("WRONG: ") and "\n\nDOUBTFUL: " in done.stdout and "\n\nHOLDS: " in done.stdout
    assert "\ndpn98 (counts)\n  58.46 M parameters is neither the exact count" in done.stdout


def test_json_has_the_same_findings(trtzoo):
    rows = json.loads(trtzoo("audit", "--format", "json").stdout)
    assert [row["claim"] for row in rows] == [row.claim for row in findings()]
    assert set(rows[0]) == {"check", "verdict", "subject", "claim", "evidence"}


def test_lines_are_wrapped_on_a_terminal():
    assert max(map(len, audit_text(findings(), 80).splitlines())) <= 80


def test_an_unknown_format_is_a_usage_error(trtzoo):
    done = trtzoo("audit", "--format", "csv")
    assert done.returncode == 2
    assert "There is no format 'csv'. Known: text, json." in done.stderr
