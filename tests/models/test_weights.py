"""From checkpoint to network: every format, files that are wrong, and comparison with PaddlePaddle itself."""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from tests.conftest import Run
from tests.goldens import fill
from trtzoo.core.errors import WeightsError
from trtzoo.models import pdparams
from trtzoo.models.pdparams import NAME_TABLE
from trtzoo.models.sources import locate
from trtzoo.models.table import MODELS, build_network
from trtzoo.models.weights import load, read_state

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def dpn68() -> State:
    """A state dict of dpn68 with the golden weights, under timm's names and shapes."""
    return _torch_state("dpn68")


@pytest.fixture(scope="module")
def densenet121() -> State:
    """A state dict of densenet121 with the golden weights, under torchvision's names and shapes."""
    return _torch_state("densenet121")


def _torch_state(name: str) -> State:
    state = {}
    for key, empty in build_network(MODELS[name], device="meta").state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
            continue
        paddle = pdparams.paddle_key(MODELS[name], key)
        tensor = torch.from_numpy(fill.fill(paddle, _paddle_shape(paddle, tuple(empty.shape))))
        state[key] = (tensor.T if tensor.dim() == 2 else tensor).reshape(empty.shape).contiguous()
    return state


def _paddle_shape(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[1], shape[0]) if key == "out.weight" else shape


def _load(name: str, path: Path, classes: int = 1000) -> State:
    network, _ = load(MODELS[name], locate(MODELS[name], str(path)), classes=classes)
    return network.state_dict()


def _same(state: State, other: State) -> bool:
    floats = {key: tensor for key, tensor in state.items() if tensor.is_floating_point()}
    return all(torch.equal(tensor, other[key].float()) for key, tensor in floats.items())


# --- PaddlePaddle's own files ---

PADDLE_PROGRAM = """
import sys, numpy, paddle
class Layer(paddle.nn.Layer):
    pass
for line in sys.stdin:
    tensors, form = line.split()
    layer = Layer()
    with numpy.load(f"{tensors}.npz") as arrays:
        for key in arrays.files:
            owner = layer
            *path, leaf = key.split(".")
            for part in path:
                if part not in owner._sub_layers:
                    owner.add_sublayer(part, Layer())
                owner = owner._sub_layers[part]
            tensor = owner.create_parameter(arrays[key].shape)
            tensor.set_value(arrays[key])
            owner.add_parameter(leaf, tensor)
    state = layer.state_dict()
    assert list(state) and isinstance(next(iter(state.values())), paddle.Tensor)
    content = {"epoch": 3, "model": state, "lr": {"last": 0.1}} if form == "training" else state
    paddle.save(content, f"{tensors}-{form}.pdparams", protocol=int(form) if form.isdigit() else 4)
"""
TWO = {"a.b.weight": np.float32([[1, 2], [3, 4]]), "a.b.bias": np.float32([5])}
NETWORKS = [("densenet121", "state"), ("dpn68", "state"), ("dpn68", "training")]
PROTOCOLS = [("two", "2"), ("two", "3"), ("two", "4")]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of the real paddle.save, all of one process: importing PaddlePaddle takes seconds."""
    folder = tmp_path_factory.mktemp("theirs")
    for name in ("densenet121", "dpn68", "two"):
        tensors = TWO if name == "two" else fill.state(name)
        assert name == "two" or fill.sha256(tensors) == str(fill.golden(name)["fill_sha256"])
        np.savez(folder / f"{name}.npz", **tensors)
    program = [sys.executable, "-W", "ignore", "-c", PADDLE_PROGRAM]
    lines = "".join(f"{name} {form}\n" for name, form in NETWORKS + PROTOCOLS)
    done = subprocess.run(program, input=lines, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("name", "form"), NETWORKS)
def test_a_file_written_by_paddlepaddle_gives_its_logits(
    name: str, form: str, theirs: Path, trtzoo: Run, tmp_path: Path
) -> None:
    """paddle.save → trtzoo export --weights FILE → ONNX Runtime: PaddlePaddle's own logits."""
    golden = fill.golden(name)
    done = trtzoo("export", name, "--weights", theirs / f"{name}-{form}.pdparams")
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / f"{name}-fp32.onnx", providers=["CPUExecutionProvider"])
    for inputs in ("x", "struct"):
        reference = golden[f"{inputs}_logits_float64"]
        (logits,) = session.run(None, {"images": fill.inputs()[inputs]})
        assert np.abs(logits - reference).max() <= 2e-5 * np.abs(reference).max()


@pytest.mark.parametrize(("name", "form"), PROTOCOLS)
def test_every_protocol_of_paddle_save_is_read(name: str, form: str, theirs: Path) -> None:
    content = pdparams.read(theirs / f"{name}-{form}.pdparams")
    assert list(content) == list(TWO)
    assert all(np.array_equal(content[key], TWO[key]) for key in TWO)


# --- PyTorch's and safetensors' files ---


def _torch_save(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def _old_names(state: State) -> State:
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key): tensor for key, tensor in state.items()}


TORCH_FORMS: dict[str, Callable[[State, Path], Path]] = {
    "state dict": lambda state, folder: _torch_save(state, folder / "w.pth"),
    "suffix .pt": lambda state, folder: _torch_save(state, folder / "w.pt"),
    "before zip files": lambda state, folder: _torch_save(state, folder / "w.pth", _use_new_zipfile_serialization=False),
    "data parallel": lambda state, folder: _torch_save({f"module.{k}": v for k, v in state.items()}, folder / "w.pth"),
    "training checkpoint": lambda state, folder: _torch_save({"state_dict": state, "epoch": 3}, folder / "w.pth"),
    "under a model key": lambda state, folder: _torch_save({"model": state, "lr": 0.1}, folder / "w.pth"),
    "parameters": lambda state, folder: _torch_save(
        {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()}, folder / "w.pth"
    ),
    "without counters": lambda state, folder: _torch_save(
        {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, folder / "w.pth"
    ),
    "torchvision's published names": lambda state, folder: _torch_save(_old_names(state), folder / "w.pth"),
    "safetensors": lambda state, folder: _safetensors(state, folder / "w.safetensors"),
}


def _safetensors(state: State, path: Path) -> Path:
    safetensors.torch.save_file(state, path)
    return path


@pytest.mark.parametrize("form", TORCH_FORMS)
def test_every_form_of_a_torch_checkpoint_is_read(form: str, densenet121: State, tmp_path: Path) -> None:
    state = _load("densenet121", TORCH_FORMS[form](densenet121, tmp_path))
    assert _same(state, densenet121)
    assert all(tensor == 0 for key, tensor in state.items() if key.endswith("num_batches_tracked"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_floating_types_become_float32(suffix: str, kind: torch.dtype, dpn68: State, tmp_path: Path) -> None:
    other = {key: tensor.to(kind) if tensor.is_floating_point() else tensor for key, tensor in dpn68.items()}
    path = tmp_path / f"w{suffix}"
    (_safetensors if suffix == ".safetensors" else _torch_save)(other, path)
    state = _load("dpn68", path)
    assert _same(state, other)
    assert all(tensor.dtype == torch.float32 for tensor in state.values() if tensor.is_floating_point())


def test_a_local_file_gets_the_conventions_of_its_formats_publisher(densenet121: State, dpn68: State, tmp_path: Path) -> None:
    found = {}
    for name, state in (("densenet121", densenet121), ("dpn68", dpn68)):
        network, record = load(MODELS[name], locate(MODELS[name], str(_torch_save(state, tmp_path / f"{name}.pth"))))
        epsilons = {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
        found[name] = (record.source, record.epsilon, epsilons, record.preprocessing.interpolation, record.origin)
    assert found == {
        "densenet121": ("file", 1e-5, {1e-5}, "bilinear", "densenet121.pth"),
        "dpn68": ("file", 1e-3, {1e-3}, "bicubic", "dpn68.pth"),
    }


# --- files that are wrong ---


class Whole(nn.Module):
    """A module saved whole: unpickling it would run its code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.canary)!r}, 'w')",)  # type: ignore[has-type]


def _mutated(change: Callable[[State], Any]) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        copy = dict(state)
        result = change(copy)
        return _torch_save(copy if result is None else result, folder / "w.pth")

    return write


def _cut(fraction: float, suffix: str = ".pth", **options: Any) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        path = folder / f"w{suffix}"
        _torch_save(state, path, **options) if suffix == ".pth" else _safetensors(state, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
        return path

    return write


def _bytes(content: bytes, suffix: str) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        path = folder / f"w{suffix}"
        path.write_bytes(content)
        return path

    return write


def _set(key: str, value: float) -> Callable[[State], None]:
    def change(state: State) -> None:
        state[key] = state[key].clone()
        state[key].view(-1)[1] = value

    return change


VAR, STEM, HEAD = "features.conv1_1.bn.running_var", "features.conv1_1.conv.weight", "classifier.weight"
WRONG: dict[str, tuple[Callable[[State, Path], Path], str]] = {
    "empty": (_bytes(b"", ".pth"), "is empty, truncated or not a checkpoint."),
    "plain text": (_bytes(b"hello, here are the weights", ".pth"), "is empty, truncated or not a checkpoint."),
    "a .pdparams by another name": (_bytes(pickle.dumps({"a": 1}), ".pth"), "is empty, truncated or not a checkpoint."),
    "empty safetensors": (_bytes(b"", ".safetensors"), "is empty, truncated or not a checkpoint."),
    "a page of HTML": (_bytes(b"<html></html>", ".pth"), "is empty, truncated or not a checkpoint."),
    "cut at nine tenths": (_cut(0.9), "is empty, truncated or not a checkpoint."),
    "cut in half, old format": (
        _cut(0.5, _use_new_zipfile_serialization=False),
        "is empty, truncated or not a checkpoint.",
    ),
    "cut safetensors": (_cut(0.9, ".safetensors"), "is empty, truncated or not a checkpoint."),
    "a missing key": (
        _mutated(lambda state: {key: tensor for key, tensor in state.items() if key != STEM}),
        "is not a checkpoint of dpn68: it lacks 'features.conv1_1.conv.weight' (1 of 361 keys missing, 0 unknown).",
    ),
    "a foreign key": (
        _mutated(lambda state: state.update(extra=torch.zeros(1))),
        "is not a checkpoint of dpn68: it has 'extra', which dpn68 does not have (0 of 361 keys missing, 1 unknown).",
    ),
    "a wrong shape": (
        _mutated(lambda state: state.update({STEM: torch.zeros(10, 3, 7, 7)})),
        "'features.conv1_1.conv.weight' has shape [10, 3, 7, 7]; the network needs [10, 3, 3, 3].",
    ),
    "another class count": (
        _mutated(lambda state: state.update({HEAD: state[HEAD][:10], "classifier.bias": state["classifier.bias"][:10]})),
        "'classifier.weight' has shape [10, 832, 1, 1]; the network needs [1000, 832, 1, 1]. "
        "If it has another class count, add --classes N.",
    ),
    "NaN": (
        _mutated(_set(HEAD, float("nan"))),
        "'classifier.weight' contains NaN, infinity, or values beyond float32's range.",
    ),
    "infinity": (
        _mutated(_set(STEM, float("inf"))),
        "'features.conv1_1.conv.weight' contains NaN, infinity, or values beyond float32's range.",
    ),
    "a negative variance": (_mutated(_set(VAR, -0.5)), "'features.conv1_1.bn.running_var' contains negative variances."),
    "beyond float32": (
        _mutated(lambda state: state.update({STEM: torch.full((10, 3, 3, 3), 1e300, dtype=torch.float64)})),
        "'features.conv1_1.conv.weight' contains NaN, infinity, or values beyond float32's range.",
    ),
    "whole numbers": (
        _mutated(lambda state: state.update({STEM: torch.zeros(10, 3, 3, 3, dtype=torch.int8)})),
        "'features.conv1_1.conv.weight' is not a plain tensor of floating-point numbers.",
    ),
    "a list": (_mutated(lambda state: [1, 2]), "is not a state dict: it holds a list."),
    "one tensor": (_mutated(lambda state: torch.zeros(3)), "is not a state dict: it holds a Tensor."),
    "numbers for tensors": (
        _mutated(lambda state: state.update(extra=1.5)),
        "is not a state dict: its entry 'extra' is not a tensor.",
    ),
    "keys that are not text": (
        _mutated(lambda state: state.update({3: torch.zeros(1)})),
        "is not a state dict: its entry 3 is not a tensor.",
    ),  # type: ignore[dict-item]
    "sparse": (
        _mutated(lambda state: state.update({STEM: torch.zeros(10, 3, 3, 3).to_sparse()})),
        "it has sparse, quantized or other special tensors, and a network has plain ones.",
    ),
    "on the meta device": (
        _mutated(lambda state: state.update({STEM: torch.zeros(10, 3, 3, 3, device="meta")})),
        "it has sparse, quantized or other special tensors, and a network has plain ones.",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_torch_file_is_an_error_with_the_reason(kind: str, dpn68: State, tmp_path: Path) -> None:
    write, sentence = WRONG[kind]
    path = write(dpn68, tmp_path)
    with pytest.raises(WeightsError) as caught:
        _load("dpn68", path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, None], ids=["zip", "old", "safetensors"])
def test_a_damaged_torch_file_gives_tensors_or_a_weights_error(options: dict[str, Any] | None, tmp_path: Path) -> None:
    path = tmp_path / ("w.safetensors" if options is None else "w.pth")
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    _safetensors(state, path) if options is None else _torch_save(state, path, **options)
    whole = path.read_bytes()
    cuts = [whole[:cut] for cut in range(0, len(whole), 7)]
    flips = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 5)]
    for content in cuts + flips:
        path.write_bytes(content)
        try:
            assert all(isinstance(tensor, torch.Tensor) for tensor in read_state(path).tensors.values())
        except WeightsError as error:
            assert str(error).startswith(f"{path} ")


def test_a_checkpoint_of_another_model_is_an_error(densenet121: State, tmp_path: Path) -> None:
    path = _torch_save(densenet121, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        _load("densenet169", path)
    assert str(caught.value) == (
        f"{path} is not a checkpoint of densenet169: it lacks 'features.denseblock3.denselayer25.conv1.weight' "
        "(240 of 846 keys missing, 0 unknown)."
    )


def test_a_whole_module_is_an_error_and_none_of_its_code_runs(tmp_path: Path) -> None:
    module, canary = Whole(), tmp_path / "canary"
    module.canary = canary  # type: ignore[assignment]
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        path = _torch_save(module, tmp_path / "w.pth", **options)
        with pytest.raises(WeightsError) as caught:
            _load("dpn68", path)
        assert str(caught.value) == (
            f"{path} holds more than tensors (perhaps a whole module). None of its code was run. "
            "Save only the state dict: torch.save(network.state_dict(), FILE)."
        )
    assert not canary.exists()


def test_a_real_module_saved_whole_is_an_error(tmp_path: Path) -> None:
    path = _torch_save(build_network(MODELS["dpn68"]), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        _load("dpn68", path)


PADDLE_STEM, PADDLE_HEAD = "conv1_x_1_func._conv.weight", "out.weight"
PADDLE_WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a missing key": (
        lambda state: state.pop(PADDLE_STEM),
        "is not a checkpoint of dpn68: it lacks 'conv1_x_1_func._conv.weight' (1 of 361 keys missing, 0 unknown).",
    ),
    "a foreign key": (
        lambda state: state.update(extra=np.zeros(1, "f4")),
        "is not a checkpoint of dpn68: it has 'extra', which dpn68 does not have (0 of 361 keys missing, 1 unknown).",
    ),
    "a wrong shape": (
        lambda state: state.update({PADDLE_STEM: np.zeros((10, 3, 7, 7), "f4")}),
        "'conv1_x_1_func._conv.weight' has shape [10, 3, 7, 7]; the network needs [10, 3, 3, 3].",
    ),
    "another class count": (
        lambda state: state.update({PADDLE_HEAD: np.zeros((832, 10), "f4")}),
        "'out.weight' has shape [832, 10]; the network needs [832, 1000]. If it has another class count, add --classes N.",
    ),
    "NaN": (
        lambda state: state.update({PADDLE_HEAD: np.full((832, 1000), np.nan, "f4")}),
        "'out.weight' contains NaN, infinity, or values beyond float32's range.",
    ),
    "beyond float32": (
        lambda state: state.update({PADDLE_STEM: np.full((10, 3, 3, 3), 1e300)}),
        "'conv1_x_1_func._conv.weight' contains NaN, infinity, or values beyond float32's range.",
    ),
    "a negative variance": (
        lambda state: state.update({"conv1_x_1_func._batch_norm._variance": np.full(10, -0.5, "f4")}),
        "'conv1_x_1_func._batch_norm._variance' contains negative variances.",
    ),
    "whole numbers": (
        lambda state: state.update({PADDLE_STEM: np.zeros((10, 3, 3, 3), "i4")}),
        "is not a state dict: its entry 'conv1_x_1_func._conv.weight' is not an array of floats.",
    ),
}


@pytest.mark.parametrize("kind", PADDLE_WRONG)
@pytest.mark.filterwarnings("error")
def test_a_wrong_pdparams_is_an_error_with_the_names_of_the_file(
    kind: str, filled: Callable[[str], dict[str, np.ndarray]], tmp_path: Path
) -> None:
    change, sentence = PADDLE_WRONG[kind]
    state: dict[str, Any] = {**filled("dpn68"), NAME_TABLE: {}}
    change(state)
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(state, 4))
    with pytest.raises(WeightsError) as caught:
        _load("dpn68", path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".pdparams"])
def test_a_checkpoint_of_ten_classes_is_read_with_its_class_count(suffix: str, dpn68: State, tmp_path: Path) -> None:
    path = tmp_path / f"ten{suffix}"
    if suffix == ".pth":
        ten = dpn68 | {key: dpn68[key][:10].clone() for key in ("classifier.weight", "classifier.bias")}
        _torch_save(ten, path)
    else:
        state = fill.state("dpn68")
        state["out.weight"], state["out.bias"] = state["out.weight"][:, :10], state["out.bias"][:10]
        path.write_bytes(pickle.dumps(state, 4))
    state = _load("dpn68", path, classes=10)
    assert torch.equal(state["classifier.weight"], dpn68["classifier.weight"][:10])
    assert torch.equal(state["classifier.bias"], dpn68["classifier.bias"][:10])


def test_a_square_classifier_is_transposed_only_from_paddle(dpn68: State, tmp_path: Path) -> None:
    """With 832 classes the shape does not distinguish [in, out] from [out, in]; the format does."""
    square = torch.arange(832.0 * 832).reshape(832, 832)
    head = {"classifier.weight": square[:, :, None, None], "classifier.bias": torch.zeros(832)}
    ours = _load("dpn68", _torch_save(dpn68 | head, tmp_path / "w.pth"), classes=832)
    theirs = fill.state("dpn68") | {"out.weight": square.numpy(), "out.bias": np.zeros(832, "f4")}
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(theirs, 4))
    paddles = _load("dpn68", tmp_path / "w.pdparams", classes=832)
    assert torch.equal(ours["classifier.weight"][:, :, 0, 0], square)
    assert torch.equal(paddles["classifier.weight"][:, :, 0, 0], square.T)
