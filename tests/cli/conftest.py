"""What tests of several commands share."""

import pytest

from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.exporter.plan import export
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import find_model


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A folder with dpn68 of ten classes at 32x32, seeded, FP32 and FP16. Tests must not write to it."""
    folder = tmp_path_factory.mktemp("exported")
    orders = [ExportOrder(model="dpn68", precision=kind, classes=10, size=32) for kind in ("fp32", "fp16")]
    assert not any(done.error for done in export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), orders, folder))
    return folder
