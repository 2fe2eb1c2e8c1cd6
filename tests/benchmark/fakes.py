"""Artifacts for the fake runtime, with their golden samples and sidecars."""

import msgspec
import numpy as np

from trtzoo.artifacts.golden import Golden
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.files import encode, sha256_file
from trtzoo.core.records import BenchJob, Case, Device, GoldenCheck, Preprocessing, Weights

DEVICE = Device(key="a-cpu-2c", name="A CPU", kind="cpu", cores=2)
PREPROCESSING = Preprocessing(
    decoder="pil", interpolation="bilinear", resize=256, crop=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)


def fake_job(folder, model="densenet121", batch=2, script=None, graph=b"graph"):
    """Write an artifact, its golden sample and sidecar; return a job that measures it."""
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
