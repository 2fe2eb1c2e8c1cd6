"""One case from file to result."""

import msgspec
import numpy as np
import pytest

from trtzoo.artifacts.golden import Golden
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.benchmark.worker import measure
from trtzoo.core.files import encode, sha256_file
from trtzoo.core.records import BenchJob, Case, Device, GoldenCheck, Preprocessing, Weights

DEVICE = Device(key="a-cpu-2c", name="A CPU", kind="cpu", cores=2)
PREPROCESSING = Preprocessing(
    decoder="pil", interpolation="bilinear", resize=256, crop=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)


@pytest.fixture
def job(tmp_path):
    return fake_job(tmp_path)


def fake_job(folder, model="densenet121", batch=2, script=None, graph=b"graph"):
    """An artifact for the fake runtime, with its golden sample and sidecar."""
    artifact = folder / f"{model}-fp32.onnx"
    artifact.write_bytes(graph + model.encode())
    random = np.random.default_rng(1)
    images = random.random((4, 3, 8, 8)).astype(np.float16).astype(np.float32)
    golden = artifact.with_suffix(".npz")
    Golden(images, random.standard_normal((4, 10))).save(golden)
    weights = Weights(source="seeded", origin="seeded", sha256="0" * 64, epsilon=1e-5, preprocessing=PREPROCESSING)
    sidecar = OnnxSidecar(
        model=model,
        precision="fp32",
        io="fp32",
        batch="dynamic",
        opset=17,
        classes=10,
        size=8,
        weights=weights,
        inputs_sha256="",
        sha256=sha256_file(artifact),
        bytes=artifact.stat().st_size,
        golden=golden.name,
        golden_sha256=sha256_file(golden),
        check=GoldenCheck(error=0.0, tolerance=1e-5, images=4),
        versions={},
    )
    artifact.with_suffix(".json").write_bytes(encode(sidecar))
    if script is not None:
        artifact.with_suffix(".script.json").write_bytes(msgspec.json.encode(script))
    case = Case(model=model, precision="fp32", batch=batch, runtime="fake", device=DEVICE.key, protocol="trtzoo")
    return BenchJob(case=case, device=DEVICE, artifact=str(artifact))


def test_a_result_keeps_raw_samples_and_says_all_it_was_made_from(tmp_path):
    job = fake_job(tmp_path, script={"seconds": [0.5, 1.0]})
    result = measure(job)
    assert result.failure is None
    assert {sample.total for sample in result.samples} == {0.5, 1.0}
    assert len(result.samples) >= 10
    assert result.case == job.case and result.device == DEVICE
    assert result.check == GoldenCheck(error=0.0, tolerance=2e-5, images=2)
    assert result.weights.source == "seeded" and result.io == "fp32" and result.versions == {"fake": "1"}
    assert result.artifact_sha256 == sha256_file(tmp_path / "densenet121-fp32.onnx")
    assert result.started.endswith("+00:00")


@pytest.mark.parametrize(
    ("fail", "kind", "reason"),
    [
        ("nan", "wrong-output", "20 of 20 logits are NaN or infinite"),
        ("zeros", "wrong-output", "all logits are 0"),
        ("wrong", "wrong-output", "of max|logit|"),
        ("error", "error", "the script says: error"),
        ("memory", "memory", "out of memory"),
    ],
)
def test_an_engine_that_fails_or_computes_wrongly_has_no_speed(tmp_path, fail, kind, reason):
    result = measure(fake_job(tmp_path, script={"fail": fail}))
    assert result.samples == ()
    assert result.failure.kind == kind
    assert reason in result.failure.reason


def test_a_changed_file_is_not_measured(job, tmp_path):
    (tmp_path / "densenet121-fp32.onnx").write_bytes(b"another graph")
    result = measure(job)
    assert result.failure.kind == "error"
    assert result.failure.reason.endswith("Run: trtzoo export densenet121 --precision fp32")


def test_any_error_of_a_runtime_becomes_a_result(tmp_path):
    (tmp_path / "x").mkdir()
    job = fake_job(tmp_path / "x", script={"seconds": "soon"})
    result = measure(job)
    assert result.failure.kind == "error" and "ValidationError" in result.failure.reason
