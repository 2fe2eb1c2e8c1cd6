"""timm's architectures as networks: made without torchvision, with timm's own configuration and weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trtzoo.core.errors import MachineError, UsageError, WeightsError
from trtzoo.models import timm_networks
from trtzoo.models.seeded import seed
from trtzoo.models.sources import locate, usual
from trtzoo.models.table import build_network, find_model, find_network
from trtzoo.models.weights import infer_classes, load, state_sha256

TEST = find_model("timm:test_resnet")


def test_timm_is_imported_without_torchvision_which_others_may_still_import() -> None:
    code = (
        "import sys; from trtzoo.models.timm_networks import load_timm; load_timm().create_model('test_resnet'); "
        "print([name for name in sys.modules if name.startswith(('torchvision', 'timm.data'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_with_timm_is_a_model_of_every_zoo_and_one_network() -> None:
    assert (TEST.name, TEST.stem, TEST.network, TEST.family) == ("timm:test_resnet", "test_resnet", "timm:test_resnet", "timm")
    assert find_network("timm:test_resnet") == TEST
    assert find_model("TIMM:test_resnet") == TEST
    for name in ("timm:", "timm:hf-hub:evil/model", "timm:../model", "hub:resnet18"):
        with pytest.raises(UsageError, match="There is no model"):
            find_model(name)


def test_an_unknown_architecture_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"^There is no architecture of timm 'resnet81'\. Did you mean resnet\d+.*timm has [\d,]+: "
    ):
        build_network(find_model("timm:resnet81"))
    with pytest.raises(UsageError, match=r"^timm has no weights 'resnet18\.nothing': "):
        build_network(find_model("timm:resnet18.nothing"))


def test_without_timm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    timm_networks.load_timm.cache_clear()
    with pytest.raises(
        MachineError, match=r"^A network of timm needs timm, which is not installed\. Run: pip install 'trtzoo\[timm\]'$"
    ):
        timm_networks.load_timm()


def test_size_classes_and_preprocessing_are_those_of_timms_configuration() -> None:
    assert usual(TEST) == (160, 1000)
    assert usual(find_model("timm:efficientnet_b4")) == (320, 1000)
    assert usual(find_model("dpn68")) == (224, 1000)
    how = locate(find_model("timm:efficientnet_b4"), "seeded").preprocessing(320)
    assert (how.decoder, how.interpolation, how.resize, how.crop) == ("pil", "bicubic", 365, 320)
    assert locate(find_model("timm:mixer_s16_224"), "seeded").preprocessing(224).mean == (0.5, 0.5, 0.5)


def test_seeded_weights_are_the_same_in_every_process_and_give_lively_logits() -> None:
    networks = [load(TEST, locate(TEST, "seeded"), classes=10, size=64) for _ in range(2)]
    assert networks[0][1].sha256 == networks[1][1].sha256 == state_sha256(networks[0][0].state_dict())
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = networks[0][0](images)
    assert logits.std(dim=0).min() > 0.01 * logits.abs().max()


@pytest.mark.parametrize(
    "name", ["test_vit", "test_convnext", "test_nfnet", "test_efficientnet_ln", "levit_128s", "xcit_nano_12_p16_224"]
)
def test_seeded_networks_of_all_kinds_of_norms_stay_in_fp16s_range(name: str) -> None:
    """Layer norm and factors of 1e-6, weight standardisation, BN on (N, C): branches live and nothing grows beyond FP16."""
    model = find_model(f"timm:{name}")
    size, _ = usual(model)
    network = seed(build_network(model, size=size), size=size, blocks=True)
    largest = [0.0]

    def watch(module: torch.nn.Module, inputs: object, result: object) -> None:
        if isinstance(result, torch.Tensor):
            largest[0] = max(largest[0], float(result.abs().max()))

    for module in network.modules():
        module.register_forward_hook(watch)
    images = torch.from_numpy(np.random.default_rng(1).random((2, 3, size, size), np.float32)) * 4 - 2
    with torch.inference_mode():
        logits = network(images)
    assert torch.isfinite(logits).all() and largest[0] < 10_000
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * logits.abs().max()


def test_an_epsilon_of_the_weights_replaces_timms() -> None:
    network = build_network(find_model("timm:test_efficientnet"), epsilon=1e-3)
    assert {norm.eps for norm in timm_networks.batch_norms(network)} == {1e-3}
    assert load(TEST, locate(TEST, "seeded"), classes=10, size=64)[1].epsilon == 1e-5


def test_an_architecture_for_one_size_is_made_for_the_size_that_is_asked_for() -> None:
    network = build_network(find_model("timm:test_vit"), size=64)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_a_checkpoint_of_timm_is_loaded_and_its_classes_found(tmp_path: Path) -> None:
    theirs = timm_networks.load_timm().create_model("test_resnet", num_classes=5)
    torch.save({"state_dict_ema": {f"module.{key}": value for key, value in theirs.state_dict().items()}}, tmp_path / "w.pth")
    own = locate(TEST, str(tmp_path / "w.pth"))
    assert infer_classes(TEST, own) == 5
    network, record = load(TEST, own, classes=5, size=64)
    assert (record.source, record.origin, record.preprocessing.crop) == ("file", "w.pth", 160)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(images), theirs.eval()(images))
    with pytest.raises(WeightsError, match=r"'fc\.weight' has shape \[5, \d+\].*add --classes N"):
        load(TEST, own, classes=6, size=64)


def test_another_publishers_file_is_translated_by_timm(tmp_path: Path) -> None:
    """ConvNeXt as Facebook publishes it: other names, and a prefix."""
    model = find_model("timm:test_convnext")
    theirs = timm_networks.load_timm().create_model("test_convnext", num_classes=5)
    names = {key: key.replace("stages_", "stages.") for key in theirs.state_dict()}
    torch.save({names[key]: value for key, value in theirs.state_dict().items()}, tmp_path / "w.pth")
    network, _ = load(model, locate(model, str(tmp_path / "w.pth")), classes=5, size=64)
    assert torch.equal(network.state_dict()["head.fc.weight"], theirs.state_dict()["head.fc.weight"])


def test_published_weights_are_at_timms_place_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timm_networks.address("resnet18") == (
        "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors",
        "resnet18.a1_in1k.safetensors",
    )
    assert timm_networks.address("resnet18.tv_in1k")[1] == "resnet18.tv_in1k.safetensors"


def test_without_the_hub_seeded_weights_stand_in_by_default_and_are_marked() -> None:
    found = locate(find_model("timm:resnet18"), None)
    assert (found.source, found.path) == ("seeded", None) and found.fallback
    with pytest.raises(WeightsError):
        locate(find_model("timm:resnet18"), "timm")
    with pytest.raises(UsageError, match=r"^paddle publishes no weights of timm:resnet18; "):
        locate(find_model("timm:resnet18"), "paddle")
