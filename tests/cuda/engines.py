"""Engines for tests: a double's plan with a sidecar as the builder writes it, or a real build on a machine with a GPU."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trtzoo.artifacts.engines import EngineSidecar, LayerTypes, Stamp, TensorSpec
from trtzoo.core.files import encode, sidecar_path
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import FLAVOURS

VERSIONS = {"tensorrt": "10.13.2.6", "rtx": "1.7.1.116"}


def emulated(folder: Path, onnx: Path, *, batch: int, precision: str = "fp32", flavour: str = "tensorrt", **plan) -> Path:
    """An engine that the double opens; `plan` may override the graph's shapes and types."""
    engine = folder / f"tiny-{precision}-b{batch}.engine"
    engine.write_bytes(json.dumps({"onnx": str(onnx), "batch": batch, **plan}).encode())
    describe(engine, onnx, batch=batch, precision=precision, flavour=flavour)
    return engine


def built(folder: Path, onnx: Path, *, batch: int, precision: str = "fp32", flavour: str = "tensorrt") -> Path:
    """An engine that the builder makes for this machine's GPU; the test is skipped without a GPU or TensorRT."""
    if not shutil.which("nvidia-smi") or probes.run_probes("cuda")["cuda"].error:
        pytest.skip("no NVIDIA GPU")
    module = FLAVOURS[flavour].module
    if probes.run_probes(module)[module].error:
        pytest.skip(f"no {module} for this GPU")
    options = ["--onnx", onnx, "--precision", precision, "--batch", str(batch), "--flavour", flavour, "--engines-dir", folder]
    done = subprocess.run([sys.executable, "-m", "trtzoo.cli", "build", *options], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return next(folder.rglob(f"*-b{batch}.engine"))


def describe(engine: Path, onnx: Path, *, batch: int, precision: str, flavour: str, **changed) -> None:
    """The sidecar of an engine for a T4."""
    status = engine.stat()
    fields = {
        "model": "tiny",
        "precision": precision,
        "batch": batch,
        "gpu": "t4",
        "sm": 75,
        "flavour": flavour,
        "version": VERSIONS[flavour],
        "flags": {},
        "onnx": Stamp(name=onnx.name, sha256="", bytes=0, modified=0),
        "weights": None,
        "golden": "",
        "golden_sha256": "",
        "inputs": (TensorSpec(name="images", dtype="FLOAT", shape=(batch, 3, 8, 8)),),
        "outputs": (TensorSpec(name="logits", dtype="FLOAT", shape=(batch, 5)),),
        "profile": {},
        "layers": LayerTypes(source="network", types={}, compute={}),
        "build_seconds": 0.0,
        "peak_memory": 0,
        "host": "",
        "driver": "",
        "inputs_sha256": "",
        "sha256": hashlib.sha256(engine.read_bytes()).hexdigest(),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "versions": {},
    }
    sidecar_path(engine).write_bytes(encode(EngineSidecar(**fields | changed)))
