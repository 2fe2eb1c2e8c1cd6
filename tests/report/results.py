"""Results and evaluations with fixed samples, for tests that check exact numbers."""

import msgspec

from trtzoo.accuracy.records import Evaluation
from trtzoo.core.records import Case, Device, GoldenCheck, Preprocessing, Result, Sample, Weights

CHECK = GoldenCheck(error=1e-6, tolerance=2e-5, images=4)
DEVICE = Device(key="a-cpu-2c", name="A CPU", kind="cpu", cores=2)
T4 = Device(key="tesla-t4", name="Tesla T4", kind="gpu", driver="550.54.14", sm=75)
PREPROCESSING = Preprocessing(
    decoder="pil", interpolation="bilinear", resize=256, crop=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)


def weights(source="paddle", fallback=""):
    return Weights(source=source, origin=source, sha256="", epsilon=1e-5, preprocessing=PREPROCESSING, fallback=fallback)


def result(model="densenet121", batch=1, seconds=(0.011,) * 12, precision="fp32", device=DEVICE, **fields):
    case = Case(model=model, precision=precision, batch=batch, runtime="onnxruntime", device=device.key, protocol="trtzoo")
    given = {"versions": {"onnxruntime": "1.2.3"}, "threads": 2, "io": "fp32", "weights": weights(), "check": CHECK} | fields
    samples = tuple(Sample(total=value, compute=value) for value in seconds)
    return Result(case=case, device=device, samples=samples, **given)


def gpu_result(**fields):
    """A result of TensorRT on a T4."""
    case_fields = {
        name: fields.pop(name) for name in ("cuda_graph", "wait", "flush_l2", "runtime", "protocol") if name in fields
    }
    made = result(device=T4, **fields)
    return msgspec.structs.replace(made, case=msgspec.structs.replace(made.case, **{"runtime": "tensorrt", **case_fields}))


def evaluation(model="densenet121", top1=750, top5=920, images=1000, **fields):
    given = {"weights": weights(), "versions": {"onnxruntime": "1.2.3"}, "fingerprint": "abc", "dataset": "val"} | fields
    return Evaluation(
        model=model,
        precision=given.pop("precision", "fp32"),
        runtime="onnxruntime",
        batch=8,
        device=DEVICE,
        images=images,
        top1=top1,
        top5=top5,
        artifact_sha256="",
        **given,
    )


def cell(table, model, column):
    """The cell of a model's row and a column."""
    (row,) = [row for row in table.rows if row[0].value == model]
    return row[table.columns.index(column)]
