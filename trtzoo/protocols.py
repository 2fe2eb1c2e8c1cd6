"""PROTOCOLS: how a number is taken, one row each."""

from __future__ import annotations

from trtzoo.errors import unknown
from trtzoo.spec import Protocol

PROTOCOLS: dict[str, Protocol] = {
    row.name: row
    for row in (
        Protocol(
            "trtzoo",
            warm_up_seconds=0.5,
            warm_up_queries=2,
            seconds=3.0,
            queries=10,
            note="one query outstanding; warm-up of 0.5 s and 2 queries, then at least 3 s and 10 queries; all samples kept",
        ),
    )
}


def find(name: str) -> Protocol:
    """The row called `name`. Raises UsageError with the nearest name."""
    if row := PROTOCOLS.get(name.lower()):
        return row
    raise unknown("protocol", name, PROTOCOLS)
