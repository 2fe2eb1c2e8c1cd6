"""Fuzz of sidecars and golden samples: what is accepted can be used, and the rest is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hostile.mutate import CORPUS, mutate
from trtzoo.artifacts import engines, golden
from trtzoo.artifacts.engines import EngineSidecar
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.artifacts.subjects import open_subject
from trtzoo.core.errors import StoreError
from trtzoo.core.files import decode, encode, sha256_file
from trtzoo.models.download import Download
from trtzoo.models.transfer import Version

KINDS = {"onnx.json": OnnxSidecar, "engine.json": EngineSidecar, "download.json": Download, "partial.json": Version}


def inside(path: Path, name: str) -> bool:
    return (path / name).resolve().parent == path.resolve()


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_sidecar_is_refused_or_possible(trials, tmp_path, name):
    for trial in trials("fuzz", f"{name}: sidecar", few=200, full=3_600):
        with trial:
            record = decode(mutate(name, trial.random), KINDS[name], name=name)
            assert decode(encode(record), KINDS[name], name=name) == record
            if name in ("download.json", "partial.json"):
                continue
            assert record.size > 0 and record.classes > 0 and record.io in ("fp32", "fp16")
            assert not record.golden or inside(tmp_path, record.golden)
            assert inside(tmp_path, f"{record.model}-{record.precision}")
            if isinstance(record, EngineSidecar):
                assert inside(tmp_path, record.onnx.name)
                assert engines.build_command(tmp_path / "densenet121-fp16-b1.engine", record)


@pytest.mark.parametrize("name", ["onnx.json", "engine.json"])
def test_an_artifact_with_a_damaged_sidecar_opens_or_is_refused(trials, tmp_path, name):
    """The golden sample is whole, so what opens has the images that its sidecar describes."""
    artifact = tmp_path / f"a.{name.removesuffix('.json')}"
    (tmp_path / "golden.npz").write_bytes(CORPUS["golden.npz"])
    artifact.write_bytes(b"plan")
    whole = json.loads(CORPUS[name]) | {"sha256": sha256_file(artifact), "bytes": 4}
    for trial in trials("fuzz", f"{name}: opening the artifact", few=100, full=2_000):
        with trial:
            data = mutate(name, trial.random).replace(b"d" * 64, whole["sha256"].encode())
            (tmp_path / "a.json").write_bytes(data)
            try:
                subject = open_subject(artifact, remedy="trtzoo export")
            finally:
                if name == "engine.json":
                    with pytest.raises(StoreError):
                        engines.load_plan(artifact, flavour="rtx", version="0", sm=1, device="T4", memory=1)
            assert subject.golden.images.shape == (2, 3, subject.sidecar.size, subject.sidecar.size)
            subject.golden.batch(subject.sidecar.batch if isinstance(subject.sidecar.batch, int) else 1)


def test_a_damaged_golden_sample_is_refused_or_finite(trials, tmp_path):
    path = tmp_path / "golden.npz"
    for trial in trials("fuzz", "golden.npz", few=150, full=3_200):
        with trial:
            path.write_bytes(mutate("golden.npz", trial.random))
            found = golden.load(path)
            assert len(found.images) == len(found.logits) > 0
            golden.check_logits(found.logits, found.logits, tolerance=1e-5)
