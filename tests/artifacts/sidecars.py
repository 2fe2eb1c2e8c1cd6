"""An engine's sidecar for tests."""

import hashlib

import msgspec

from trtzoo.artifacts.engines import EngineSidecar, LayerTypes, Stamp, TensorSpec

PLAN = b"the bytes of a plan"


def make_sidecar(**changes):
    """The sidecar of PLAN as an FP16 engine for a T4, with some fields changed."""
    known = EngineSidecar(
        model="densenet121",
        precision="fp16",
        batch=1,
        gpu="t4",
        sm=75,
        flavour="rtx",
        version="1.7.1.116",
        flags={"strongly_typed": True},
        onnx=Stamp(name="densenet121-fp16.onnx", sha256="", bytes=0, modified=0),
        weights=None,
        golden="",
        golden_sha256="",
        inputs=(TensorSpec(name="images", dtype="HALF", shape=(1, 3, 224, 224)),),
        outputs=(TensorSpec(name="logits", dtype="FLOAT", shape=(1, 1000)),),
        profile={},
        layers=LayerTypes(source="network", types={"FP16": 3, "FP32": 1}, compute={"FP16": 1}),
        build_seconds=1.0,
        peak_memory=1,
        host="a host",
        driver="",
        inputs_sha256="",
        sha256=hashlib.sha256(PLAN).hexdigest(),
        bytes=len(PLAN),
        modified=0,
        versions={},
    )
    return msgspec.structs.replace(known, **changes)
