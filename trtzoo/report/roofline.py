"""The limit of a case: the shortest time that the device's peaks allow, and the share of it that was reached.

The roofline of Williams, Waterman and Patterson (2009): FLOPs over the peak of that precision, or the least bytes over the
memory's bandwidth, whichever takes longer. FLOPs are those of direct convolutions (2 x multiply-accumulates). Winograd's
algorithm needs fewer for 3x3 convolutions, so a share over 100 % is possible; more often the processor's measured peak is too
low. Either way it is marked.
"""

from typing import Literal

import msgspec

from trtzoo.benchmark.protocols import reported_latency
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Identity, Result
from trtzoo.hardware.gpus import GPUS, Card, find_card
from trtzoo.models.table import MODELS, Model, zoo

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
VALUES = 3 * 224 * 224, 1000  # of one image, and of its logits


class Limit(msgspec.Struct, frozen=True):
    """The shortest time in seconds, what bounds it, the source of the peaks, and why they may be too low."""

    seconds: float
    bound: Literal["compute", "memory"]
    source: str
    doubt: str = ""


class Work(msgspec.Struct, frozen=True):
    """What one image costs at least: FLOPs, parameters, and values of the image and its logits."""

    flops: int
    params: int
    values: int = sum(VALUES)


def work_of(identity: Identity) -> Work | None:
    """Return the work of a network, or None if nobody counted it."""
    row = MODELS.get(identity.network) or next((row for row in zoo().values() if row.network == identity.network != ""), None)
    model = row if row and row.macs and (identity.classes, identity.height, identity.width) == (1000, 224, 224) else None
    values = 3 * identity.height * identity.width + identity.classes
    if identity.macs:
        return Work(2 * identity.macs, identity.params, values)
    return Work(model.flops, model.params, values) if model else None


def least_bytes(work: Work | Model, precision: str, batch: int, io: str = "fp32") -> int:
    """Return the bytes of weights (BN scale and shift included), images and logits, each moved once."""
    values = getattr(work, "values", sum(VALUES))
    return work.params * BYTES[PRECISIONS[precision].graph] + batch * values * BYTES[io]


def limit_on_card(card: Card | None, work: Work | Model, precision: str, batch: int, io: str = "fp32") -> Limit | None:
    """Return a case's limit on a GPU, or None if its peaks are unknown."""
    peak = getattr(card, precision, None)
    if card is None or not peak:
        return None
    compute = batch * work.flops / peak
    memory = least_bytes(work, precision, batch, io) / card.bandwidth if card.bandwidth else 0.0
    return Limit(compute, "compute", card.source) if compute >= memory else Limit(memory, "memory", card.source)


def limit_of_published(gpu: str, model: Model, precision: str, batch: int) -> Limit | None:
    """Return a published cell's limit. The publisher does not say which V100 card it was; the first card's peaks are used."""
    return limit_on_card(GPUS[gpu].cards[0], model, precision, batch)


def limit_of(result: Result) -> Limit | None:
    """Return a result's limit: from its GPU's row, or on a CPU from the measured peak; None if neither is known."""
    case, work = result.case, work_of(result.subject)
    if work is None:
        return None
    if result.device.kind == "gpu":
        return limit_on_card(find_card(result.device.name), work, case.precision, case.batch, result.io or "fp32")
    peak = result.peak
    if case.precision != "fp32" or not (peak or result.sgemm):
        return None
    if peak is None:
        source = f"sgemm measured beside it: {result.sgemm / 1e9:.0f} GFLOP/s"
        doubt = "the limit is PyTorch's matrix product, whose kernels are slow on some processors"
        return Limit(case.batch * work.flops / result.sgemm, "compute", source, doubt)
    source = f"{peak.kernel}, {peak.rate / 1e9:.0f} GFLOP/s, the best of {peak.turns} turns from {peak.low / 1e9:.0f}"
    busy = f"other programs used {peak.other_load:.1f} of {peak.threads} cores while the limit was measured"
    return Limit(case.batch * work.flops / peak.rate, "compute", source, "" if peak.is_quiet else busy)


def limit_share(result: Result) -> float | None:
    """Return limit / latency, or None for a failed result or an unknown limit."""
    limit = None if result.failure else limit_of(result)
    return limit.seconds / reported_latency(result) if limit else None


def limit_doubt(result: Result) -> str:
    """Return why the limit of a good result may be wrong: it was exceeded, or its measurement is in doubt; else empty."""
    limit, share = limit_of(result), limit_share(result)
    if limit is None or share is None:
        return ""
    exceeded = (
        f"FASTER THAN THE LIMIT, {share:.0%}: it is too low, or the runtime needs fewer FLOPs (Winograd)" if share > 1 else ""
    )
    return "; ".join(filter(None, [exceeded, limit.doubt]))
