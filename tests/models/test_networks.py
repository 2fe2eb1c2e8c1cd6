"""The ten networks against PaddlePaddle's own logits and activations, and torchvision's and timm's names."""

import hashlib
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import fx, nn

from tests.goldens import fill
from trtzoo.core.errors import UsageError
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import MODELS, Model, build_network, find_model
from trtzoo.models.weights import load

TOLERANCES = {"float32": 2e-5, "float64": 1e-11}

# sha256 of the lines "key 64x3x7x7\n" of state_dict() in torchvision 0.29.1 and timm 1.0.31; densenet264 is in neither.
STATE_DICTS = {
    "densenet121": "0249837190bf1db001266f22715facab5852dfb257bc09b7ffdd2df832f8ef60",
    "densenet161": "2b8ca3d74f0495b85e470fb75546c314f1ac5e95910f6e2105f9ff41d9f56f1b",
    "densenet169": "3aa5e0cdc15b5a940d7d0dc56b48d83db8600b0ebadc45bdbf5c2bfe0f4de5f6",
    "densenet201": "faa8c5b297e2970d31b022116f49e3ef9029308f27151850d5002c0418f6c27a",
    "dpn68": "e2daec47bd7ab971850a6166c5d05cd2edadb6b84c83569766f9d011db579cda",
    "dpn92": "47327f4a308c31d54d30b8126cc05c657201ffcce8185edb1e9281dcd99e4180",
    "dpn98": "c6f658954aa7ebbfbdaa934dbd26d8170c12f8cc93e92adaf8783c99f6be7a89",
    "dpn107": "878f27a29044bdef5e54b378fc7f315f577ffd61d792de6ac41a9441647116b7",
    "dpn131": "bdfdbb33e3dd003c659d46110d04f12c2937b25078d6ed04910d22bc2d4c0455",
}

Run = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


@dataclass
class Filled:
    """A model with the golden weights, its golden file, and its output: logits by input, stages by Paddle's name."""

    model: Model
    sha256: str
    golden: dict[str, np.ndarray]
    runs: dict[str, Run] = field(default_factory=dict)


@pytest.fixture(scope="module", params=MODELS)
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """One network for each model, filled once, run in float32 and then in float64."""
    model = MODELS[request.param]
    tensors = fill.state(model.name)
    path = tmp_path_factory.mktemp(model.name) / "weights.pdparams"
    with path.open("wb") as file:
        pickle.dump(tensors, file, protocol=4)
    filled = Filled(model, fill.sha256(tensors), fill.golden(model.name))
    del tensors
    network, _ = load(model, Checkpoint("paddle", path))
    path.unlink()
    stages: dict[str, np.ndarray] = {}
    for name, module in network.named_modules():
        if paddle := _paddle_stage(model, name):
            module.register_forward_hook(_recorder(stages, paddle))
    for kind in TOLERANCES:
        network.to(getattr(torch, kind))
        filled.runs[kind] = _logits(network, kind), dict(stages)
    yield filled


def _logits(network: nn.Module, kind: str) -> dict[str, np.ndarray]:
    """The logits of every input. `x` is last, so the recorded stages are those of `x`."""
    with torch.inference_mode():
        images = {name: torch.from_numpy(array.astype(kind)) for name, array in reversed(fill.inputs().items())}
        return {name: network(batch).numpy() for name, batch in images.items()}


def _recorder(stages: dict[str, np.ndarray], name: str):
    def record(module: nn.Module, arguments: object, result: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        several = isinstance(result, tuple)
        for index, tensor in enumerate(result if isinstance(result, tuple) else (result,)):
            stages[f"{name}.{index}" if several else name] = tensor.numpy()

    return record


def _paddle_stage(model: Model, name: str) -> str | None:
    """Paddle's name of the sublayer with the output of our module `name`."""
    fixed = {
        "densenet": {"features.relu0": "conv1_func", "features.pool0": "pool2d_max", "features.relu5": "batch_norm"},
        "dpn": {
            "features.conv1_1": "conv1_x_1_func",
            "features.conv1_pool": "pool2d_max",
            "features.conv5_bn_ac": "conv5_x_x_bn",
        },
    }[model.family] | {"pool": "pool2d_avg"}
    if match := re.fullmatch(r"features\.(denseblock|transition)(\d)", name):
        number = int(match[2]) + 1
        return f"db_conv_{number}" if match[1] == "denseblock" else f"tr_conv{number}_blk"
    if match := re.fullmatch(r"features\.conv(\d)_(\d+)", name):
        before = sum(model.arguments["blocks"][: int(match[1]) - 2]) if model.family == "dpn" and match[1] != "1" else 0
        return fixed.get(name) or f"dpn{before + int(match[2])}"
    return fixed.get(name)


def test_the_weights_are_those_of_the_golden_files(zoo: Filled) -> None:
    assert zoo.sha256 == str(zoo.golden["fill_sha256"])


@pytest.mark.parametrize("kind", TOLERANCES)
def test_every_stage_has_paddlepaddles_activations(zoo: Filled, kind: str) -> None:
    _, stages = zoo.runs[kind]
    recorded = [name.partition("/")[2] for name in zoo.golden if name.startswith(f"act_{kind}/")]
    assert len(recorded) >= 10
    for stage in recorded:  # in the order of computation: the first failure is the wrong stage
        ours, reference = stages[stage], zoo.golden[f"act_{kind}/{stage}"]
        assert list(ours.shape) == list(zoo.golden[f"act_shape/{stage}"]), stage
        mean, deviation, first = reference[0], reference[1], reference[2:]
        assert abs(ours.mean(dtype=np.float64) - mean) <= TOLERANCES[kind] * deviation, stage
        assert abs(ours.std(dtype=np.float64) - deviation) <= TOLERANCES[kind] * deviation, stage
        assert np.abs(ours.reshape(-1)[:8] - first).max() <= TOLERANCES[kind] * np.abs(ours).max(), stage


@pytest.mark.parametrize("kind", TOLERANCES)
@pytest.mark.parametrize("images", ["x", "struct", "odd"])
def test_the_logits_are_paddlepaddles(zoo: Filled, images: str, kind: str) -> None:
    logits, _ = zoo.runs[kind]
    reference = zoo.golden[f"{images}_logits_{kind}"]
    assert logits[images].shape == reference.shape
    assert np.abs(logits[images] - reference).max() <= TOLERANCES[kind] * np.abs(reference).max()
    assert (logits[images].argmax(1) == reference.argmax(1)).all()


@pytest.mark.parametrize("name", STATE_DICTS)
def test_a_state_dict_has_torchvisions_and_timms_names_shapes_and_order(name: str) -> None:
    state = build_network(MODELS[name], device="meta").state_dict()
    lines = "".join(f"{key} {'x'.join(map(str, tensor.shape))}\n" for key, tensor in state.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == STATE_DICTS[name]


def test_densenet264_has_the_parameter_names_of_densenet121() -> None:
    def kinds(name: str) -> set[str]:
        return {re.sub(r"\d+", "N", key) for key in build_network(MODELS[name], device="meta").state_dict()}

    assert kinds("densenet264") == kinds("densenet121")


@pytest.mark.parametrize("name", MODELS)
def test_every_network_can_be_traced(name: str) -> None:
    traced = fx.symbolic_trace(build_network(MODELS[name], device="meta", classes=7))
    assert traced(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", MODELS)
def test_epsilon_and_classes_reach_their_layers(name: str) -> None:
    network = build_network(MODELS[name], classes=12, epsilon=1e-3, device="meta")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.eps == 1e-3 for norm in norms)
    assert not network.training
    assert len(network.classifier.weight) == 12  # type: ignore[union-attr,arg-type]


def test_a_model_is_found_in_any_case() -> None:
    assert find_model("DPN68") is MODELS["dpn68"]


def test_an_unknown_model_suggests_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        find_model("densenet12")
    assert str(caught.value) == (
        "There is no model 'densenet12'. Did you mean densenet121? Known: densenet121, densenet161, densenet169, densenet201, "
        "densenet264, dpn68, dpn92, dpn98, dpn107, dpn131."
    )
