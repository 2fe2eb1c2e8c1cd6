"""What an evaluation leaves behind: one record a model, precision and runtime, under benchmarks/<device>/accuracy/."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trtzoo.errors import StoreError
from trtzoo.spec import SCHEMA, Device, Record, Weights
from trtzoo.store import decode


class Evaluation(Record, frozen=True, kw_only=True):
    """How many of `images` labelled images had their class first (`top1`) and among the first five (`top5`).

    `fingerprint` is the data set's; `bad` names each image that could not be read, with the reason: it is counted apart.
    """

    schema: int = SCHEMA
    kind: Literal["evaluation"] = "evaluation"
    model: str
    precision: str
    runtime: str
    batch: int
    device: Device
    dataset: str
    fingerprint: str
    images: int
    top1: int
    top5: int
    bad: dict[str, str] = {}
    weights: Weights
    artifact_sha256: str
    versions: dict[str, str] = {}
    started: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.model}-{self.precision}-{self.runtime}"


def place(results: Path, evaluation: Evaluation) -> Path:
    """Where an evaluation is kept."""
    return results / evaluation.device.key / "accuracy" / f"{evaluation.name}.json"


def load(results: Path) -> tuple[list[Evaluation], list[str]]:
    """All evaluations under results/<device>/accuracy/, and a sentence for each file that is not one."""
    found, complaints = [], []
    for path in sorted(results.glob("*/accuracy/*.json")):
        try:
            found.append(decode(path.read_bytes(), Evaluation, where=str(path)))
        except (StoreError, OSError) as error:
            complaints.append(str(error))
    return found, complaints
