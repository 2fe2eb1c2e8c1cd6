"""Distance to the limit: the least time that a device's peaks allow for a case, and the share of it that was reached.

The roofline of Williams, Waterman and Patterson (2009): FLOPs over the peak of that precision, or the least bytes over the
memory's bandwidth, whichever takes longer. FLOPs are those of direct convolutions (2 x multiply-accumulates); Winograd's
algorithm needs fewer for 3x3 ones, so a share over 100 % would be surprising and not impossible.
"""

from typing import Literal

import msgspec

from trtzoo.benchmark.protocols import reported_latency
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Result
from trtzoo.hardware.gpus import GPUS, Card, find_card
from trtzoo.models.table import MODELS, Model

BYTES = {"fp32": 4, "fp16": 2}
VALUES = 3 * 224 * 224, 1000
"""Of one image and of its logits."""


class Limit(msgspec.Struct, frozen=True):
    """The least seconds, what sets them, and whose word the peaks are."""

    seconds: float
    bound: Literal["compute", "memory"]
    source: str


def least_bytes(model: Model, precision: str, batch: int, io: str = "fp32") -> int:
    """Weights, images and logits, each moved once. BN's scale and shift are counted, though most are folded away: under 1 %."""
    return model.params * BYTES[PRECISIONS[precision].graph] + batch * sum(VALUES) * BYTES[io]


def roofline(flops: float, size: float, peak: float, bandwidth: float, source: str) -> Limit:
    """`flops` at `peak` FLOP/s and `size` bytes at `bandwidth` bytes/s (0: not known, left out)."""
    compute, memory = flops / peak, size / bandwidth if bandwidth else 0.0
    return Limit(compute, "compute", source) if compute >= memory else Limit(memory, "memory", source)


def limit_on_card(found: Card | None, model: Model, precision: str, batch: int, io: str = "fp32") -> Limit | None:
    """A case's limit on a GPU; None where its peaks are not known."""
    peak = getattr(found, precision, 0.0)
    if found is None or not peak:
        return None
    return roofline(batch * model.flops, least_bytes(model, precision, batch, io), peak, found.bandwidth, found.source)


def limit_of_published(gpu: str, model: Model, precision: str, batch: int) -> Limit | None:
    """A published cell's limit. Which V100 it was is not told: the first card's peaks are taken."""
    return limit_on_card(GPUS[gpu].cards[0], model, precision, batch)


def limit_of(result: Result) -> Limit | None:
    """A result's limit: by its GPU's row, or by the sgemm rate measured beside it on a CPU; None where neither is known."""
    case, model = result.case, MODELS[result.case.model]
    if result.device.kind == "gpu":
        return limit_on_card(find_card(result.device.name), model, case.precision, case.batch, result.io or "fp32")
    if case.precision != "fp32" or not result.sgemm:
        return None
    source = f"sgemm measured beside it: {result.sgemm / 1e9:.0f} GFLOP/s"
    return roofline(case.batch * model.flops, 0, result.sgemm, 0, source)


def limit_share(result: Result) -> float | None:
    """Limit / measured; None for a failed result and where no limit is known."""
    limit = None if result.failure else limit_of(result)
    return limit.seconds / reported_latency(result) if limit else None


# --- tables ---
