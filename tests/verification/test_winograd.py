"""The FP32 limit for Winograd kernels: derived, held by the networks, and passed by no wrong engine."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from trtzoo.artifacts import golden
from trtzoo.core.errors import WrongOutputError
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, build_network
from trtzoo.runtimes.registry import RUNTIMES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "winograd.py"
_spec = importlib.util.spec_from_file_location("winograd", SCRIPT)
winograd = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(winograd)

U = 2.0**-24
CHANNELS, LAYERS = 144, 264  # of a usual 3x3 convolution, and of the deepest network
GPU, CPU = (RUNTIMES[name].tolerance("fp32") for name in ("tensorrt", "openvino"))


@pytest.mark.parametrize("tile", winograd.TRANSFORMS)
@pytest.mark.parametrize("groups", [1, 4])
def test_winograd_s_algorithm_is_the_convolution(tile, groups):
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 8, 7, 9, generator=random, dtype=torch.float64)
    weight = torch.randn(12, 8 // groups, 3, 3, generator=random, dtype=torch.float64)
    found = winograd.convolve(images, weight, tile=tile, groups=groups)
    torch.testing.assert_close(found, functional.conv2d(images, weight, padding=1, groups=groups))


def test_the_limits_follow_from_the_error_of_a_layer():
    large, small = (winograd.growth(tile) * math.sqrt(CHANNELS) / 2 * U * math.sqrt(LAYERS) for tile in (4, 2))
    assert winograd.growth(4) == pytest.approx(10.77, abs=0.01) and winograd.growth(2) == pytest.approx(5 / 3)
    assert small < CPU < 4.5e-5 < large < GPU < 1.2 * large


@pytest.fixture(scope="module")
def networks():
    return {name: seed(build_network(MODELS[name], device="meta")) for name in ("densenet121", "dpn68")}


def test_a_real_layer_s_error_is_at_most_as_much_larger_as_derived(networks):
    """densenet121's third block on a golden image: the RMS of the error by each tile / that of a direct convolution."""
    seen = {}
    layer = networks["densenet121"].get_submodule("features.denseblock3.denselayer9.conv2")
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.update(images=inputs[0]))
    with torch.no_grad():
        networks["densenet121"](torch.from_numpy(golden.images(224)[:1]))
        hook.remove()
        images, weight = seen["images"], layer.weight
        exact = functional.conv2d(images.double(), weight.double(), padding=1)
        columns = functional.unfold(images, 3, padding=1)  # on some processors conv2d itself uses Winograd's algorithm
        found = [
            (weight.flatten(1) @ columns).view_as(exact),
            *(winograd.convolve(images, weight, tile=tile) for tile in (2, 4)),
        ]
        direct, small, large = (float((each - exact).square().mean().sqrt()) for each in found)
    assert direct < small < 2 * winograd.growth(2) * direct
    assert 3 * direct < large < 2 * winograd.growth(4) * direct


def checked(network, reference, size):
    """The check that precedes every measurement, on the logits of a network whose convolutions are F(4x4, 3x3)."""
    images = torch.from_numpy(golden.images(size))
    return golden.check_logits(winograd.logits(network, images, tile=4), reference, tolerance=GPU)


def negate_a_weight(network):
    """The largest weight of the first 3x3 convolution that Winograd fits."""
    layer = next(module for module in network.modules() if winograd.fits(module))
    flat = layer.weight.data.view(-1)
    flat[flat.abs().argmax()] *= -1


def skip_a_layer(network):
    [module for module in network.modules() if winograd.fits(module)][-1].weight.data.zero_()


def fold_with_another_epsilon(network):
    [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)][-1].eps = 1e-3


def fold_without_the_mean(network):
    [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)][10].running_mean.zero_()


@pytest.mark.parametrize("name", ["densenet121", "dpn68"])
def test_winograd_kernels_pass_and_a_wrong_engine_fails(name, networks):
    size, network = 64, networks[name]
    right = {key: value.clone() for key, value in network.state_dict().items()}
    reference = winograd.logits(network.double(), torch.from_numpy(golden.images(size)).double())
    assert 0 < checked(network.float(), reference, size).error < GPU
    for change in (negate_a_weight, skip_a_layer, fold_with_another_epsilon, fold_without_the_mean):
        change(network)
        with pytest.raises(WrongOutputError, match=r"^logits differ by .* \(allowed 7e-05\)$"):
            checked(network, reference, size)
        network.load_state_dict(right)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-5
        assert checked(network, reference, size)
