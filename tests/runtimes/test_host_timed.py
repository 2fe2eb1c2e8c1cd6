"""Frameworks on a GPU: the same code in the CPU's memory, the errors without CUDA, and real runs where there is a GPU."""

import sys
from functools import partial

import numpy as np
import pytest

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import MachineError
from trtzoo.core.modules import resolve
from trtzoo.core.precisions import PRECISIONS
from trtzoo.exporter.plan import export
from trtzoo.hardware import probes
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import find_model
from trtzoo.runtimes import onnxruntime, pytorch
from trtzoo.runtimes.host_timed import memory_errors
from trtzoo.runtimes.registry import RUNTIMES, Session

ROWS = [row for row in RUNTIMES.values() if row.device == "gpu" and row.reads == "graph"]
HERE = {
    "onnxruntime": partial(onnxruntime.DeviceSession, providers=[("CPUExecutionProvider", {})], memory="cpu"),
    "pytorch": partial(pytorch.DeviceSession, name="cpu", pinned=False),
}
KINDS = [("fp32", "fp32"), ("fp16", "fp32"), ("fp16", "fp16")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    orders = [ExportOrder(model="dpn68", precision=kind, io=io, size=64) for kind, io in KINDS]
    done = list(export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), orders, folder))
    assert not any(one.error for one in done)
    return {(one.order.precision, one.order.io): one.path for one in done}


def checked_samples(session, path, kind, batch):
    images, reference = golden.load(path.with_suffix(".npz")).batch(batch)
    try:
        logits = session.infer(images)
        golden.check_logits(logits, reference, tolerance=PRECISIONS[kind].tolerance)
        samples = [session.sample() for _ in range(3)]
        np.testing.assert_allclose(session.infer(images), logits, rtol=0, atol=1e-2 * np.abs(logits).max())
        return samples
    finally:
        session.close()


@pytest.mark.parametrize("opener", HERE.values(), ids=HERE)
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_logits_are_golden_and_every_stage_has_a_time(exported, opener, kind, batch):
    session = opener(exported[kind], batch=batch, transfers=True)
    samples = checked_samples(session, exported[kind], kind[0], batch)
    assert all(s.h2d > 0 and s.compute > 0 and s.d2h > 0 for s in samples)
    assert all(s.total == pytest.approx(s.h2d + s.compute + s.d2h) for s in samples)
    assert session.settings["clock"] == "the host's" and session.settings["transfers"] == "on"


@pytest.mark.parametrize("opener", HERE.values(), ids=HERE)
def test_without_transfers_only_the_computation_is_timed(exported, opener):
    session = opener(exported[KINDS[0]], batch=1, transfers=False)
    samples = checked_samples(session, exported[KINDS[0]], "fp32", 1)
    assert all((s.h2d, s.d2h, s.total) == (0, 0, s.compute) for s in samples)


def test_logits_of_an_earlier_inference_do_not_pass_for_new_ones(exported):
    session = HERE["onnxruntime"](exported[KINDS[0]], batch=1, transfers=True)
    images, _ = golden.load(exported[KINDS[0]].with_suffix(".npz")).batch(1)
    session.infer(images)
    session._compute = lambda: None
    assert np.isnan(session.infer(images)).all()
    session.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("onnxruntime-cuda", r"here has no CUDAExecutionProvider\. Run: trtzoo setup$"),
        ("onnxruntime-tensorrt", r"here has no TensorrtExecutionProvider\. Run: "),
        ("pytorch-cuda", r"is built without CUDA, or finds no GPU\. To see what is here, run: trtzoo doctor$"),
    ],
)
def test_without_cuda_each_names_what_is_missing_instead_of_running_on_the_cpu(exported, name, sentence, monkeypatch):
    monkeypatch.setattr(onnxruntime.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(pytorch.torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(MachineError, match=sentence):
        resolve(RUNTIMES[name].opener)(exported[KINDS[0]], batch=1)


@pytest.mark.parametrize(("name", "loaded"), [("onnxruntime-cuda", False), ("onnxruntime-tensorrt", True)])
def test_tensorrt_s_libraries_are_loaded_before_a_session_with_its_provider(exported, tmp_path, monkeypatch, name, loaded):
    (tmp_path / "tensorrt.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(onnxruntime.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(MachineError):
        resolve(RUNTIMES[name].opener)(exported[KINDS[0]], batch=1)
    assert (sys.modules.pop("tensorrt", None) is not None) == loaded


CONFLICT = MachineError("ONNX Runtime cannot load dpn68.onnx: Conflicting session configuration")


@pytest.mark.parametrize("error", [None, CONFLICT], ids=["next provider", "error"])
def test_a_provider_that_is_listed_but_does_not_load_is_refused_with_the_reason(exported, monkeypatch, error):
    """ONNX Runtime itself goes on with the next provider and only logs a line, or complains of the forbidden CPU."""
    monkeypatch.setattr(onnxruntime.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "provider_problem", lambda module, name: f"lib{name}.so: cannot open shared object file")
    opened = onnxruntime._open

    def next_provider(path, options, providers):
        if error:
            raise error
        return opened(path, options, [("CPUExecutionProvider", {})])

    monkeypatch.setattr(onnxruntime, "_open", next_provider)
    sentence = r"cannot use its CUDAExecutionProvider: libCUDAExecutionProvider\.so: cannot open shared object file\. What fits"
    with pytest.raises(MachineError, match=sentence):
        onnxruntime.DeviceSession(
            exported[KINDS[0]], batch=1, providers=[("CUDAExecutionProvider", {})], memory="cpu", transfers=True
        )


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 8", MemoryError),
        ("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access", RuntimeError),
    ],
)
def test_only_a_full_gpu_is_a_memory_error_of_onnx_runtime(exported, monkeypatch, words, kind):
    session = HERE["onnxruntime"](exported[KINDS[0]], batch=1, transfers=False)

    def fail(binding):
        raise RuntimeError(words)

    monkeypatch.setattr(session._session, "run_with_iobinding", fail)
    with pytest.raises(kind) as caught:
        session.sample()
    assert str(caught.value) == words
    session.close()


def test_a_full_gpu_is_a_memory_error_of_pytorch():
    with pytest.raises(MemoryError, match="Tried to allocate"), memory_errors():
        raise pytorch.torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


PROVIDERS = {"onnxruntime-cuda": "CUDAExecutionProvider", "onnxruntime-tensorrt": "TensorrtExecutionProvider"}


def missing(row):
    """What this machine lacks for the runtime; empty if nothing, and then every error is a failure."""
    if (cuda := probes.run_probes("cuda")["cuda"]).error:
        return f"no NVIDIA GPU: {cuda.error}"
    if row.module == "torch":
        return "" if pytorch.torch.version.cuda else "this PyTorch is built without CUDA"
    if PROVIDERS[row.name] not in onnxruntime.onnxruntime.get_available_providers():
        return f"this ONNX Runtime is built without {PROVIDERS[row.name]}"
    return "TensorRT is not installed" if "tensorrt" in row.name and probes.run_probes("tensorrt")["tensorrt"].error else ""


@pytest.mark.gpu
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_on_a_gpu_the_logits_are_golden(exported, row, kind):
    if reason := missing(row):
        pytest.skip(reason)
    session: Session = resolve(row.opener)(exported[kind], batch=3)
    assert all(s.compute > 0 for s in checked_samples(session, exported[kind], kind[0], 3))
