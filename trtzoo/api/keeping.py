"""Which blocks of a quantized network must stay in floating point, so that the rest keeps to the policy."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec.structs import replace

from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.builder.widening import widened
from trtzoo.core.arrays import Array
from trtzoo.core.console import log
from trtzoo.core.errors import ExportError
from trtzoo.core.files import cache_folder, cached_record, encode
from trtzoo.core.precisions import GRAPHS, precision_of
from trtzoo.core.records import SCHEMA, Record
from trtzoo.exporter.plan import export, inputs_sha256
from trtzoo.images.dataset import DataSet
from trtzoo.models.sources import SEEDED, Checkpoint
from trtzoo.models.table import Model
from trtzoo.verification.check import photograph_inputs

AUTO = "auto"


class KeptBlocks(Record, frozen=True, kw_only=True):
    """The blocks that were chosen, the worst first."""

    schema: int = SCHEMA
    blocks: tuple[str, ...]


def blocks_to_keep(model: Model, checkpoint: Checkpoint, order: ExportOrder, data: DataSet) -> tuple[str, ...]:
    """The fewest blocks, the worst first, without which the rest keeps to its precision's policy on the calibration images.

    `order` is for a graph that GPUs take. The user's cache keeps the choice. Raises what an export raises.
    """
    key = hashlib.sha256(encode(order) + inputs_sha256(order, checkpoint, model).encode()).hexdigest()

    def choose() -> KeptBlocks:
        log.info("%s %s: choosing the blocks that stay in floating point", model.name, precision_of(order.precision))
        return KeptBlocks(blocks=_chosen(model, checkpoint, order, data))

    return cached_record(cache_folder() / "calibration" / f"kept-{key}.json", KeptBlocks, choose).blocks


def _chosen(model: Model, checkpoint: Checkpoint, order: ExportOrder, data: DataSet) -> tuple[str, ...]:
    from trtzoo.verification.sensitivity import fewest_kept

    @contextmanager
    def images() -> Iterator[Iterator[Array]]:
        with closing(photograph_inputs(data, checkpoint.preprocessing(order.size), order.size)) as stream:
            yield stream

    with tempfile.TemporaryDirectory(prefix="trtzoo-") as text:
        folder = Path(text)

        def make(wanted: ExportOrder) -> Path:
            (done,) = export(model, checkpoint, [wanted], folder, calibration=data, force=True)
            if done.error:
                raise ExportError(done.error)
            if GRAPHS[wanted.precision].quantized == "int8":  # ONNX Runtime computes FP16 slowly, and scales fit both types
                done.path.write_bytes(widened(done.path))
            return done.path

        plain = replace(order, precision="fp32", calibration=None, kept=(), io="fp32")
        return fewest_kept(
            make(plain),
            lambda kept: make(replace(order, kept=kept)),
            images,
            precision=precision_of(order.precision),
            classes_count=checkpoint.source != SEEDED and bool(data.photographs),
        )
