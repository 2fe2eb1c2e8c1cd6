"""Records refuse values that cannot be, so that no table is made from them."""

import msgspec
import pytest

from tests.artifacts.sidecars import make_sidecar
from tests.report.results import CHECK, DEVICE, PREPROCESSING, evaluation, gpu_result, result, weights
from trtzoo.accuracy.records import Entry
from trtzoo.artifacts.engines import Stamp, TensorSpec
from trtzoo.core.records import GpuSettings, GpuState, LayerTime, Opening, Sample, Span, is_plain, is_time

OPENING = Opening(deserialisation=0.1, context=0.1, first_inference=0.1, engine_size=1, context_memory=1)
SAMPLE = Sample(total=0.01, compute=0.01)
STAMP = Stamp(name="a.onnx", sha256="", bytes=1, modified=1)


@pytest.mark.parametrize(
    ("record", "change"),
    [
        *((SAMPLE, {name: value}) for name in ("total", "compute") for value in (0.0, -1.0, 1e-12, 1e7, float("nan"))),
        *((SAMPLE, {name: value}) for name in ("h2d", "d2h", "enqueue") for value in (-1e-9, 1e7, float("nan"))),
        *((PREPROCESSING, {name: value}) for name in ("crop", "resize") for value in (0, -1, 1 << 20)),
        *(
            (PREPROCESSING, {name: (0.5, 0.5, value)})
            for name in ("mean", "std")
            for value in (1e9, float("inf"), float("nan"))
        ),
        (PREPROCESSING, {"std": (0.5, 0.0, 0.5)}),
        *((weights(), {"epsilon": value}) for value in (-1.0, 1.0, float("nan"))),
        *((CHECK, {name: -1}) for name in ("error", "tolerance", "images")),
        *((DEVICE, {name: -1}) for name in ("cores", "memory", "sm", "index")),
        *((DEVICE, {"name": value}) for value in ("", " ")),
        *((DEVICE, {"key": value}) for value in ("", "..", "a/b", "a\\b", "a\nb", "a\x1b[2J", "x" * 300)),
        (result().case, {"batch": 1025}),
        *((result(), {"sgemm": value}) for value in (-1.0, 1e-300, 1e300)),
        *((result(), {"started": value}) for value in ("yesterday", "0001-01-01", "9999-01-01")),
        *((result(), {name: -1}) for name in ("load", "other_load", "available_cores", "threads")),
        *((OPENING, {name: -1}) for name in OPENING.__struct_fields__ if name != "notes"),
        (LayerTime(name="a", seconds=1), {"seconds": -1}),
        (GpuState(readings=2), {"reasons": {"thermal": 3}}),
        (GpuState(), {"sm_clock": Span(low=-1, median=0, high=1)}),
        (GpuState(), {"others": -1}),
        (GpuSettings(), {"power_limit": -1.0}),
        (GpuSettings(), {"pcie_width": -1}),
        *((STAMP, {name: value}) for name, value in (("name", "../a.onnx"), ("bytes", -1), ("modified", -1))),
        *((make_sidecar(), {name: ()}) for name in ("inputs", "outputs")),
        *((make_sidecar(), {name: (TensorSpec(name="x", dtype="HALF", shape=()),)}) for name in ("inputs", "outputs")),
        (make_sidecar(), {"inputs": (TensorSpec(name="x", dtype="HALF", shape=(1, 3, 8, -1)),)}),
        *((make_sidecar(), {name: "../x"}) for name in ("model", "precision", "gpu", "flavour", "version", "golden")),
        *((make_sidecar(), {name: -1}) for name in ("batch", "sm", "bytes", "modified", "peak_memory", "build_seconds")),
        *((evaluation(), {name: "../x"}) for name in ("model", "precision", "runtime")),
        *((evaluation(), {name: 0}) for name in ("batch", "classes", "size")),
        (evaluation(top1=900, images=1000), {"not_finite": 101}),
        *((Entry(), {"ranks": [(0, -1)]}), (Entry(), {"seconds": -1.0})),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "__struct_fields__") else str(value)[:40],
)
def test_a_value_that_cannot_be_is_refused(record, change):
    with pytest.raises(ValueError, match="that cannot be"):
        msgspec.structs.replace(record, **change)


def test_plain_names_and_times():
    assert all(map(is_plain, ("a", "ü b", "a.b-c", "$(x)", "x" * 255)))
    assert not any(map(is_plain, ("", ".", "..", "a/b", "a\\b", "a\0", "a\u2028b", "ü" * 200)))
    assert all(map(is_time, ("", "2026-01-01", "2026-01-01T10:00:00+00:00")))


def test_a_gpus_result_may_lack_what_nvml_does_not_report():
    assert gpu_result(gpu_state=GpuState(), gpu_settings=GpuSettings(), opening=OPENING).samples
