"""A tiny classifier with its golden sample and sidecar, for evaluations."""

from pathlib import Path

import numpy as np
import onnxruntime

from tests.making import tiny
from trtzoo.artifacts.golden import Golden
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.files import encode, sha256_file
from trtzoo.core.records import GoldenCheck, Preprocessing, Weights

HOW = Preprocessing(decoder="opencv", interpolation="bilinear", resize=10, crop=8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
WEIGHTS = Weights(source="torchvision", origin="my.pth", sha256="0" * 64, epsilon=1e-5, preprocessing=HOW)
CLASSES = 5


def classifier(folder: Path, *, name="densenet121-fp32-c5-s8", batch="dynamic", weights=WEIGHTS, seed=0) -> Path:
    """Write an ONNX file, images (batch, 3, 8, 8) → five logits, and return its path."""
    folder.mkdir(exist_ok=True)
    path = tiny(folder / f"{name}.onnx", batch="batch" if batch == "dynamic" else batch, seed=seed)
    random = np.random.default_rng(1)
    images = random.random((4, 3, 8, 8)).astype(np.float16).astype(np.float32)
    Golden(images, logits(path, images)).save(path.with_suffix(".npz"))
    sidecar = OnnxSidecar(
        model=name.split("-")[0],
        precision="fp32",
        io="fp32",
        batch=batch,
        opset=17,
        classes=CLASSES,
        size=8,
        weights=weights,
        inputs_sha256="",
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        golden=path.with_suffix(".npz").name,
        golden_sha256=sha256_file(path.with_suffix(".npz")),
        check=GoldenCheck(error=0.0, tolerance=2e-5, images=4),
        versions={},
    )
    path.with_suffix(".json").write_bytes(encode(sidecar))
    return path


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    """The logits by ONNX Runtime, in the batches that the file takes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[0]
    step = size if isinstance(size, int) else 1
    return np.concatenate([session.run(None, {"images": images[at : at + step]})[0] for at in range(0, len(images), step)])
