"""The published document's numbers, as printed: published.toml."""

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from trtzoo.models.table import Count


class PublishedSource(msgspec.Struct, frozen=True):
    """The publisher and document; `crop` and `resize_short` in pixels."""

    name: str
    document: str
    crop: int
    resize_short: int


class Published(msgspec.Struct, frozen=True):
    """One model's row: accuracies as fractions, `gflops` and `mparams` by the publisher's counter."""

    top1: float
    top5: float
    reference_top1: float
    gflops: float
    mparams: float
    reference_top5: float | None = None


class Later(msgspec.Struct, frozen=True):
    """One model's row on the publisher's page of December 2021: V100 milliseconds by batch ("b1"), billions of MACs."""

    top1: float
    top5: float
    v100_fp32: dict[str, float]
    gmacs: float
    mparams: float


class Document(msgspec.Struct, frozen=True):
    """`latency[gpu][precision][model]["b4"]` is milliseconds for one call of four images; `counted` is by the 2019 counter."""

    source: PublishedSource
    models: dict[str, Published]
    latency: dict[str, dict[str, dict[str, dict[str, float]]]]
    later: dict[str, Later]
    footnote: dict[str, str]
    counted: dict[str, Count]

    def seconds(self, gpu: str, precision: str, model: str, batch: int) -> float | None:
        """Return the published latency in seconds, or None if there is none."""
        printed = self.latency.get(gpu, {}).get(precision, {}).get(model, {}).get(f"b{batch}")
        return None if printed is None else printed / 1000


class PublishedCell(NamedTuple):
    """A published latency, in seconds."""

    gpu: str
    precision: str
    model: str
    batch: int
    seconds: float


BATCHES = (1, 4, 8)  # of the published latencies


@cache
def read_toml(name: str) -> Any:
    """Read a file beside this module."""
    return msgspec.toml.decode((files("trtzoo.report") / name).read_bytes())


@cache
def document() -> Document:
    return msgspec.convert(read_toml("published.toml"), Document)


@cache
def all_cells() -> list[PublishedCell]:
    """Return each published latency."""
    return [
        PublishedCell(gpu, precision, model, int(name[1:]), printed / 1000)
        for gpu, by_precision in document().latency.items()
        for precision, by_model in by_precision.items()
        for model, by_batch in by_model.items()
        for name, printed in by_batch.items()
    ]


def printed_batches(gpu: str, precision: str) -> set[int]:
    """Return the batches with published latencies of a GPU and precision."""
    return {cell.batch for cell in all_cells() if cell[:2] == (gpu, precision)}
