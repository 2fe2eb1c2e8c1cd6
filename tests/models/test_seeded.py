"""Seeded weights: the same bytes on every machine, and activations within FP16's range."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from trtzoo.artifacts import golden
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, Model, build_network
from trtzoo.models.weights import state_sha256


@pytest.fixture(scope="module", params=MODELS)
def seeded(request: pytest.FixtureRequest) -> Iterator[tuple[Model, nn.Module]]:
    model = MODELS[request.param]
    yield model, seed(build_network(model, device="meta"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_weights_do_not_depend_on_the_number_of_threads(seeded: tuple[Model, nn.Module], one_thread: None) -> None:
    model, network = seeded
    assert state_sha256(network.state_dict()) == state_sha256(seed(build_network(model, device="meta")).state_dict())


def test_every_norm_is_calibrated_and_every_value_finite(seeded: tuple[Model, nn.Module]) -> None:
    _, network = seeded
    assert not network.training
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        assert norm.running_mean is not None and norm.running_var is not None
        assert norm.running_mean.any() and (norm.running_var > 0).all()
        assert (norm.weight == 1).all() and not norm.bias.any()
        assert norm.num_batches_tracked == 0


def test_activations_are_far_below_the_limit_of_fp16(seeded: tuple[Model, nn.Module]) -> None:
    """FP16's largest value is 65504. Without calibration dpn92, dpn107 and dpn131 reach millions."""
    _, network = seeded
    largest = [0.0]

    def record(module: nn.Module, arguments: object, result: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        for tensor in result if isinstance(result, tuple) else (result,):
            largest[0] = max(largest[0], float(tensor.abs().max()))

    hooks = [module.register_forward_hook(record) for module in network.modules()]
    with torch.inference_mode():
        network(torch.from_numpy(golden.images(224)[:2]))
    for hook in hooks:
        hook.remove()
    assert 1 < largest[0] < 2000


def test_different_images_have_different_logits(seeded: tuple[Model, nn.Module]) -> None:
    """A network that ignores its input would hide a broken graph."""
    _, network = seeded
    with torch.inference_mode():
        logits = network(torch.from_numpy(golden.images(96)))
    assert logits.std(0).mean() > 0.05 * logits.std()


def test_another_process_makes_the_known_weights() -> None:
    program = """
from trtzoo.models import MODELS, build_network
from trtzoo.models.seeded import seed
from trtzoo.models.weights import state_sha256
for name in ("densenet121", "dpn68"):
    print(name, state_sha256(seed(build_network(MODELS[name], device="meta")).state_dict()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == """\
densenet121 05221fcede14477610ceac982720c2b13ef891822d31530fcd2dfc93ad0cd1a9
dpn68 39d9a253806802ae1a9b455e5a2fbdcf759f536d6cb562315ecfe15a693244c6
"""
    )


def test_a_network_of_another_class_count_is_seeded() -> None:
    network = seed(build_network(MODELS["dpn68"], classes=10, device="meta"))
    assert tuple(network.classifier.weight.shape) == (10, 832, 1, 1)  # type: ignore[union-attr]
