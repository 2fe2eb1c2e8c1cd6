"""A build job for tests: FP32, batch 1, for a T4 by TensorRT-RTX."""

from trtzoo.artifacts.engines import Recipe
from trtzoo.builder.tensorrt_worker import BuildJob

RECIPE = Recipe(
    onnx_sha256="0",
    precision="fp32",
    tf32=False,
    batch=1,
    gpu="t4",
    sm=75,
    card="",
    flavour="rtx",
    version="1",
    workspace=1 << 20,
    detailed=False,
    options={},
    code="0",
)
JOB = BuildJob(recipe=RECIPE, onnx="net.onnx", engine="net.engine")
