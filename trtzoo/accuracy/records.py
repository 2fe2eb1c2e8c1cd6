"""What is evaluated, and the record it leaves: one a model, precision and runtime, under benchmarks/<device>/accuracy/."""

from pathlib import Path
from typing import Literal

from msgspec import field

from trtzoo.core.errors import StoreError
from trtzoo.core.files import read_record
from trtzoo.core.records import SCHEMA, Device, Record, Weights

DEFAULT_BATCH = 8


class EvaluationTask(Record, frozen=True, kw_only=True):
    """One file to be evaluated by a runtime on a device. `remedy` is the command that makes the file.

    An empty precision is the file's own; so is the batch None, or DEFAULT_BATCH where the file takes any.
    """

    artifact: str
    precision: str
    runtime: str
    device: Device
    batch: int | None = None
    options: dict[str, bool | int] = field(default_factory=dict)
    remedy: str = ""


class Evaluation(Record, frozen=True, kw_only=True):
    """How many of `images` labelled images had their class first (`top1`) and among the first five (`top5`).

    `fingerprint` is the data set's; `bad` names each image that could not be read, with the reason: it is counted apart.
    `not_finite` images had a logit that is not a number, and count as wrong. The published accuracies are of 1000 classes at
    224x224. `seconds` is decoding and computing.
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
    bad: dict[str, str] = field(default_factory=dict)
    weights: Weights
    artifact_sha256: str
    versions: dict[str, str] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        extras = {f"c{self.classes}": self.classes != 1000, f"s{self.size}": self.size != 224}
        return "-".join([self.model, self.precision, *(text for text, said in extras.items() if said), self.runtime])


def evaluation_path(results: Path, evaluation: Evaluation) -> Path:
    """Where an evaluation is kept."""
    return results / evaluation.device.key / "accuracy" / f"{evaluation.name}.json"


def load_evaluations(results: Path) -> tuple[list[Evaluation], list[str]]:
    """All evaluations under results/<device>/accuracy/, and a sentence for each file that is not one."""
    found, complaints = [], []
    for path in sorted(results.glob("*/accuracy/*.json")):
        try:
            found.append(read_record(path, Evaluation))
        except (StoreError, OSError) as error:
            complaints.append(str(error))
    return found, complaints
