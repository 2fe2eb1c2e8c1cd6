"""Measuring one case: from its file to its result."""

import pytest

from tests.benchmark.fakes import DEVICE, fake_job
from trtzoo.benchmark.worker import measure
from trtzoo.core.files import sha256_file
from trtzoo.core.records import GoldenCheck


@pytest.fixture
def job(tmp_path):
    return fake_job(tmp_path)


def test_a_result_keeps_raw_samples_and_records_everything_it_was_made_from(tmp_path):
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
def test_an_engine_that_fails_or_computes_wrong_outputs_has_no_samples(tmp_path, fail, kind, reason):
    result = measure(fake_job(tmp_path, script={"fail": fail}))
    assert result.samples == ()
    assert result.failure.kind == kind
    assert reason in result.failure.reason


def test_a_changed_file_is_not_measured(job, tmp_path):
    (tmp_path / "densenet121-fp32.onnx").write_bytes(b"another graph")
    result = measure(job)
    assert result.failure.kind == "error"
    assert result.failure.reason.endswith("Run: trtzoo export densenet121 --precision fp32")


def test_any_error_of_a_runtime_becomes_a_failure(tmp_path):
    (tmp_path / "x").mkdir()
    job = fake_job(tmp_path / "x", script={"seconds": "soon"})
    result = measure(job)
    assert result.failure.kind == "error" and "ValidationError" in result.failure.reason
