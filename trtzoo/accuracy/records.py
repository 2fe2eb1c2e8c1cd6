"""Records of evaluations: one per model, precision and runtime, in benchmarks/<device>/accuracy/."""

from pathlib import Path
from typing import Literal

import msgspec

from trtzoo.core.errors import StoreError
from trtzoo.core.files import read_record
from trtzoo.core.records import SCHEMA, Device, Record, Weights

DEFAULT_BATCH = 8


class Evaluation(Record, frozen=True, kw_only=True):
    """How many of `images` labelled images had their class first (`top1`) or among the first five (`top5`).

    `fingerprint` is the data set's. `bad` lists the unreadable images, which are not in `images`, with reasons. `not_finite`
    images had a logit that is not finite; they count as wrong. `seconds` includes decoding.
    """

    schema: int = SCHEMA
    kind: Literal["evaluation"] = "evaluation"
    model: str
    precision: str
    runtime: str
    batch: int
    classes: int = 1000
    size: int = 224
    device: Device
    dataset: str
    fingerprint: str
    images: int
    top1: int
    top5: int
    not_finite: int = 0
    bad: dict[str, str] = msgspec.field(default_factory=dict)
    weights: Weights
    artifact_sha256: str
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        classes = f"-c{self.classes}" if self.classes != 1000 else ""
        size = f"-s{self.size}" if self.size != 224 else ""
        return f"{self.model}-{self.precision}{classes}{size}-{self.runtime}"


def load_evaluations(results: Path) -> tuple[list[Evaluation], list[str]]:
    """All evaluations in results/<device>/accuracy/, and an error message for each file that is not one."""
    found, complaints = [], []
    for path in sorted(results.glob("*/accuracy/*.json")):
        try:
            found.append(read_record(path, Evaluation))
        except (StoreError, OSError) as error:
            complaints.append(str(error))
    return found, complaints
