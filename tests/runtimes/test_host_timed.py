"""Frameworks on a GPU: the same code on the processor's memory, what is refused without CUDA, and on a GPU the real thing."""

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
from trtzoo.runtimes.registry import RUNTIMES, Session

ROWS = [row for row in RUNTIMES.values() if row.device == "gpu" and row.reads == "graph"]
HERE = {
    "onnxruntime": partial(onnxruntime.OnDevice, providers=["CPUExecutionProvider"], memory="cpu"),
    "pytorch": partial(pytorch.OnDevice, where="cpu"),
}
KINDS = [("fp32", "fp32"), ("fp16", "fp32"), ("fp16", "fp16")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    orders = [ExportOrder(model="dpn68", precision=kind, io=io, size=64) for kind, io in KINDS]
    done = list(export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), orders, folder))
    assert not any(one.error for one in done)
    return {(one.order.precision, one.order.io): one.path for one in done}


def is_right(session, path, kind, batch):
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
def test_the_golden_logits_come_out_and_every_part_has_its_time(exported, opener, kind, batch):
    session = opener(exported[kind], batch=batch, transfers=True, pinned=False)
    samples = is_right(session, exported[kind], kind[0], batch)
    assert all(s.h2d > 0 and s.compute > 0 and s.d2h > 0 for s in samples)
    assert all(s.total == pytest.approx(s.h2d + s.compute + s.d2h) for s in samples)
    assert session.settings["clock"] == "the host's" and session.settings["transfers"] == "on"


@pytest.mark.parametrize("opener", HERE.values(), ids=HERE)
def test_without_transfers_only_the_computation_is_timed(exported, opener):
    session = opener(exported[KINDS[0]], batch=1, transfers=False, pinned=False)
    samples = is_right(session, exported[KINDS[0]], "fp32", 1)
    assert all((s.h2d, s.d2h, s.total) == (0, 0, s.compute) for s in samples)


def test_logits_of_an_earlier_inference_pass_for_none(exported, monkeypatch):
    session = HERE["onnxruntime"](exported[KINDS[0]], batch=1, transfers=True, pinned=False)
    images, _ = golden.load(exported[KINDS[0]].with_suffix(".npz")).batch(1)
    session.infer(images)
    monkeypatch.setattr(session, "_run", lambda: None)
    assert np.isnan(session.infer(images)).all()
    session.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "onnxruntime-cuda",
            r"here has no CUDAExecutionProvider\. Run: pip uninstall onnxruntime onnxruntime-gpu; pip install 'trtzoo\[gpu\]'$",
        ),
        ("onnxruntime-tensorrt", r"here has no TensorrtExecutionProvider\. Run: "),
        ("pytorch-cuda", r"is built without CUDA, or finds no GPU\. What is here: trtzoo doctor$"),
    ],
)
def test_without_cuda_each_says_what_is_missing_instead_of_running_on_the_processor(exported, name, sentence, monkeypatch):
    monkeypatch.setattr(onnxruntime.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(pytorch.torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(MachineError, match=sentence):
        resolve(RUNTIMES[name].opener)(exported[KINDS[0]], batch=1)


def test_a_provider_that_is_listed_but_does_not_load_is_refused(exported, monkeypatch):
    """ONNX Runtime itself would go on with the next provider, or the processor, with no more than a line of log."""
    monkeypatch.setattr(onnxruntime.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    opened = onnxruntime._open
    monkeypatch.setattr(onnxruntime, "_open", lambda path, options, providers: opened(path, options, ["CPUExecutionProvider"]))
    with pytest.raises(MachineError, match="cannot use its CUDAExecutionProvider"):
        onnxruntime.OnDevice(
            exported[KINDS[0]], batch=1, providers=["CUDAExecutionProvider"], memory="cpu", transfers=True, pinned=False
        )


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 8", MemoryError),
        ("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access", RuntimeError),
    ],
)
def test_onnx_runtime_without_room_on_the_gpu_is_a_memory_error_and_nothing_else_is(exported, monkeypatch, words, kind):
    session = HERE["onnxruntime"](exported[KINDS[0]], batch=1, transfers=False, pinned=False)

    def fail(binding):
        raise RuntimeError(words)

    monkeypatch.setattr(session._session, "run_with_iobinding", fail)
    with pytest.raises(kind) as caught:
        session.sample()
    assert str(caught.value) == words
    session.close()


def test_pytorch_without_room_on_the_gpu_is_a_memory_error():
    with pytest.raises(MemoryError, match="tried to allocate"), pytorch._full_is_told():
        raise pytorch.torch.OutOfMemoryError("tried to allocate 2 GiB")


PROVIDERS = {"onnxruntime-cuda": "CUDAExecutionProvider", "onnxruntime-tensorrt": "TensorrtExecutionProvider"}


def missing(row):
    """What this machine lacks to run it, nothing where it has all: then whatever goes wrong is a failure."""
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
def test_on_a_gpu_the_golden_logits_come_out(exported, row, kind):
    if lack := missing(row):
        pytest.skip(lack)
    session: Session = resolve(row.opener)(exported[kind], batch=3)
    assert all(s.compute > 0 for s in is_right(session, exported[kind], kind[0], 3))
