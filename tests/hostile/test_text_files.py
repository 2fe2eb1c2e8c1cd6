"""Fuzz: no bytes break a reader of text files; each reads the file whole or says in a sentence why not."""

from trtzoo.core.files import decode
from trtzoo.core.records import Result


def test_bytes_of_any_kind_are_decoded_or_refused(trials):
    for trial in trials("fuzz", "JSON", few=500, full=8_000):
        with trial:
            decode(trial.random.randbytes(trial.random.randrange(64)), Result, name="x.json")
