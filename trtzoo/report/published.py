"""The published document's numbers: data/published.toml, as printed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec


class Published(msgspec.Struct, frozen=True):
    """One model's row: accuracies as fractions, `gflops` and `mparams` by the publisher's own counter."""

    top1: float
    top5: float
    reference_top1: float
    gflops: float
    mparams: float
    reference_top5: float | None = None


class Document(msgspec.Struct, frozen=True):
    """`latency[gpu][precision][model]["b4"]` is milliseconds for one call of four images."""

    models: dict[str, Published]
    latency: dict[str, dict[str, dict[str, dict[str, float]]]]

    def seconds(self, gpu: str, precision: str, model: str, batch: int) -> float | None:
        """The printed latency, or None where none was printed."""
        printed = self.latency.get(gpu, {}).get(precision, {}).get(model, {}).get(f"b{batch}")
        return None if printed is None else printed / 1000


@cache
def document() -> Document:
    return msgspec.toml.decode((files("trtzoo.data") / "published.toml").read_bytes(), type=Document)
