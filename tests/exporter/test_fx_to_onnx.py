"""The exported graph: its operations, types and bytes, and the same results as from PyTorch's own exporters."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import ExportError
from trtzoo.core.files import sha256_file
from trtzoo.core.records import Batch
from trtzoo.exporter.fx_to_onnx import OPERATIONS, reference_logits, translate
from trtzoo.exporter.onnx_writer import OnnxGraph, varint
from trtzoo.exporter.tracing import getitem, trace
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, build_network

SIZE = 64


@pytest.fixture(scope="module")
def networks() -> Iterator[Callable[[str], nn.Module]]:
    made: dict[str, nn.Module] = {}

    def network(name: str) -> nn.Module:
        if name not in made:
            made[name] = seed(build_network(MODELS[name], device="meta"))
        return made[name]

    yield network
    made.clear()


def graph_of(network: nn.Module, **options: Any) -> onnx.ModelProto:
    return whole_model(translate(network, order(**options)))


def order(**options: Any) -> ExportOrder:
    return ExportOrder(**{"model": "net", "precision": "fp32", "size": SIZE} | options)


def whole_model(graph: OnnxGraph) -> onnx.ModelProto:
    """The graph with its weights as one message, built by onnx itself."""
    model = graph.skeleton()
    model.graph.initializer.extend(numpy_helper.from_array(weight.rounded(), name) for name, weight in graph.weights.items())
    return model


def run(model: onnx.ModelProto | Path, images: np.ndarray) -> np.ndarray:
    source = model if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    return session.run(None, {value.name: images})[0]


# --- structure ---


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        (
            "densenet121",
            {"Conv": 121, "BatchNormalization": 62, "Relu": 121, "Concat": 58, "AveragePool": 3, "MaxPool": 1}
            | {"GlobalAveragePool": 1, "Flatten": 1},
        ),
        (
            "dpn68",
            {"Conv": 98, "BatchNormalization": 27, "Relu": 72, "Concat": 44, "Add": 22, "MaxPool": 1}
            | {"GlobalAveragePool": 1, "Flatten": 1},
        ),
    ],
)
def test_a_graph_has_these_operations_and_no_others(
    name: str, operations: dict[str, int], networks: Callable[[str], nn.Module]
) -> None:
    assert Counter(node.op_type for node in graph_of(networks(name)).graph.node) == operations


@pytest.mark.parametrize("name", MODELS)
def test_every_graph_passes_the_full_check_and_holds_only_its_type(name: str) -> None:
    network = build_network(MODELS[name], classes=10, device="meta").to_empty(device="cpu")
    for tensor in network.state_dict().values():
        tensor.fill_(1)  # the checker ignores the values
    for precision, dtype in (("fp32", np.float32), ("fp16", np.float16)):
        graph = translate(network, order(model=name, precision=precision, size=224))
        graph.check()
        assert {weight.dtype for weight in graph.weights.values()} - {np.dtype(np.int64)} == {np.dtype(dtype)}
        (classifier,) = [node for node in graph.nodes if "classifier.weight" in node.input]
        assert classifier.op_type == "Conv"
        assert "Split" not in {node.op_type for node in graph.nodes}


@pytest.mark.parametrize("name", ["densenet121", "dpn68"])
def test_a_file_contains_no_trace_of_where_and_how_it_was_made(name: str, networks: Callable[[str], nn.Module]) -> None:
    model = graph_of(networks(name), model=name)
    assert not model.graph.value_info and not model.metadata_props and not model.graph.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert (model.producer_name, model.producer_version, model.doc_string, model.graph.doc_string) == ("trtzoo", "", "", "")
    text = b"".join(node.SerializeToString() for node in model.graph.node)
    assert b"/" not in text and b".py" not in text


@pytest.mark.parametrize(("batch", "shown"), [("dynamic", "batch"), (1, 1), (8, 8)])
@pytest.mark.parametrize(
    ("precision", "io", "element"),
    [("fp32", "fp32", TensorProto.FLOAT), ("fp16", "fp32", TensorProto.FLOAT), ("fp16", "fp16", TensorProto.FLOAT16)],
)
def test_input_and_output_have_the_orders_batch_and_type(
    precision: str, io: str, element: int, batch: Batch, shown: int | str, networks: Callable[[str], nn.Module]
) -> None:
    model = graph_of(networks("dpn68"), precision=precision, io=io, batch=batch)
    onnx.checker.check_model(model, full_check=True)
    (images,), (output,) = model.graph.input, model.graph.output
    assert (images.name, output.name) == ("images", "logits")
    for value, shape in ((images, [shown, 3, SIZE, SIZE]), (output, [shown, 1000])):
        assert value.type.tensor_type.elem_type == element
        assert [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] == shape
    casts = [node.op_type for node in model.graph.node if node.op_type == "Cast"]
    assert casts == ([] if precision == io else ["Cast", "Cast"])
    size = 3 if batch == "dynamic" else batch
    result = run(model, golden.images(SIZE)[np.arange(size) % 4].astype(np.float16 if io == "fp16" else np.float32))
    assert result.shape == (size, 1000) and np.isfinite(result).all()


# --- results ---


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-5), ("fp16", 2e-2)])
@pytest.mark.parametrize("name", ["densenet121", "dpn68"])
def test_a_graph_computes_its_networks_logits(
    name: str, precision: str, tolerance: float, networks: Callable[[str], nn.Module]
) -> None:
    images = golden.images(SIZE)
    reference = reference_logits(networks(name), images)
    golden.check_logits(run(graph_of(networks(name), precision=precision), images), reference, tolerance=tolerance)


@pytest.mark.parametrize("opset", range(13, 26))
def test_every_opset_gives_a_valid_graph_that_runs(opset: int, networks: Callable[[str], nn.Module]) -> None:
    model = graph_of(networks("dpn68"), opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    images = golden.images(SIZE)
    golden.check_logits(run(model, images), reference_logits(networks("dpn68"), images), tolerance=2e-5)


@pytest.mark.parametrize("name", ["densenet121", "dpn68"])
def test_pytorchs_own_exporter_agrees(name: str, networks: Callable[[str], nn.Module], tmp_path: Path) -> None:
    """torch.onnx.export(dynamo=True) shares no code with ours."""
    images = golden.images(SIZE)
    example = (torch.from_numpy(images),)
    torch.onnx.export(networks(name), example, tmp_path / "torch.onnx", dynamo=True, verbose=False)
    witness = run(tmp_path / "torch.onnx", images)
    golden.check_logits(run(graph_of(networks(name)), images), witness.astype(np.float64), tolerance=1e-5)


@pytest.mark.parametrize("name", ["densenet201", "dpn92"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorchs_old_exporter_agrees(name: str, networks: Callable[[str], nn.Module], tmp_path: Path) -> None:
    images = golden.images(SIZE)
    torch.onnx.export(networks(name), (torch.from_numpy(images),), str(tmp_path / "torch.onnx"), dynamo=False, opset_version=17)
    witness = run(tmp_path / "torch.onnx", images)
    golden.check_logits(run(graph_of(networks(name)), images), witness.astype(np.float64), tolerance=1e-5)


# --- one operation at a time ---


class Net(nn.Module):
    """A network of one expression over its layers."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.expression = forward

    def forward(self, images: Tensor) -> Tensor:
        return self.expression(self, images)


def _norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width)
    random = torch.Generator().manual_seed(1)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.copy_(torch.rand(width, generator=random) + 0.5)
    return norm


def _read_twice(net: Any, images: Tensor) -> Tensor:
    features = net.conv(images)
    return torch.flatten(net.norm(features) + features, 1)


def _split_and_join(net: Any, images: Tensor) -> Tensor:
    first, rest = torch.split(images, [1, 2], 1)
    return torch.flatten(torch.cat((rest, first, net.conv(rest)), 1), 1)


def _split_convolution(net: Any, images: Tensor) -> Tensor:
    first, rest = torch.split(net.conv(images), [4, 2], 1)
    return torch.flatten(torch.cat((net.relu(rest), first), 1), 1)


def _split_and_read_whole(net: Any, images: Tensor) -> Tensor:
    features = net.conv(images)
    _, rest = torch.split(features, [4, 2], 1)
    return torch.flatten(torch.cat((rest, features), 1), 1)


NETS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "conv and norm become one": (
        lambda: Net(lambda n, x: torch.flatten(n.norm(n.conv(x)), 1), **_conv_norm()),
        {"Conv", "Flatten"},
    ),
    "a conv with a bias and norm": (
        lambda: Net(lambda n, x: torch.flatten(n.norm(n.conv(x)), 1), **_conv_norm(bias=True)),
        {"Conv", "Flatten"},
    ),
    "a conv that others read is not folded": (
        lambda: Net(_read_twice, **_conv_norm()),
        {"Conv", "BatchNormalization", "Add", "Flatten"},
    ),
    "a norm before a conv stays": (
        lambda: Net(lambda n, x: torch.flatten(n.conv(n.norm(x)), 1), norm=_norm(3), conv=nn.Conv2d(3, 4, 3)),
        {"BatchNormalization", "Conv", "Flatten"},
    ),
    "grouped, strided, padded, not square": (
        lambda: Net(
            lambda n, x: torch.flatten(n.b(n.a(x)), 1),
            a=nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2)),
            b=nn.Conv2d(8, 8, 3, groups=4, padding=1, bias=False),
        ),
        {"Conv", "Flatten"},
    ),
    "split and concatenate": (
        lambda: Net(
            _split_and_join,
            conv=nn.Conv2d(2, 5, 1),
        ),
        {"Split", "Conv", "Concat", "Flatten"},
    ),
    "a convolution that is split becomes two": (
        lambda: Net(_split_convolution, conv=nn.Conv2d(3, 6, 3, padding=1), relu=nn.ReLU()),
        {"Conv", "Relu", "Concat", "Flatten"},
    ),
    "a convolution that is split, and read whole, stays one": (
        lambda: Net(_split_and_read_whole, conv=nn.Conv2d(3, 6, 1, bias=False)),
        {"Conv", "Split", "Concat", "Flatten"},
    ),
    "a grouped convolution that is split stays one": (
        lambda: Net(_split_convolution, conv=nn.Conv2d(3, 6, 1, groups=3), relu=nn.ReLU()),
        {"Conv", "Split", "Relu", "Concat", "Flatten"},
    ),
    "a pointwise convolution and a mean change places": (
        lambda: Net(lambda n, x: torch.flatten(n.mean(n.conv(x)), 1), conv=nn.Conv2d(3, 8, 1), mean=nn.AvgPool2d(2, 2)),
        {"AveragePool", "Conv", "Flatten"},
    ),
    "a wide convolution and a mean do not": (
        lambda: Net(lambda n, x: torch.flatten(n.mean(n.conv(x)), 1), conv=nn.Conv2d(3, 8, 3), mean=nn.AvgPool2d(2, 2)),
        {"Conv", "AveragePool", "Flatten"},
    ),
    "pools": (
        lambda: Net(
            lambda n, x: torch.flatten(n.all(n.mean(n.most(x))), 1),
            most=nn.MaxPool2d(3, stride=2, padding=1),
            mean=nn.AvgPool2d(2, stride=2),
            all=nn.AdaptiveAvgPool2d(1),
            conv=nn.Conv2d(3, 3, 1),
        ),
        {"MaxPool", "AveragePool", "GlobalAveragePool", "Flatten"},
    ),
    "a linear classifier is a convolution": (
        lambda: Net(lambda n, x: n.fc(torch.flatten(n.pool(x), 1)), pool=nn.AdaptiveAvgPool2d(1), fc=nn.Linear(3, 7)),
        {"GlobalAveragePool", "Conv", "Flatten"},
    ),
}


def _conv_norm(bias: bool = False) -> dict[str, nn.Module]:
    return {"conv": nn.Conv2d(3, 4, 3, bias=bias), "norm": _norm(4)}


@pytest.mark.parametrize("kind", NETS)
def test_an_operation_is_what_pytorch_says_it_is(kind: str) -> None:
    torch.manual_seed(0)
    make, operations = NETS[kind]
    network = make().eval()
    images = golden.images(16)[:2]
    model = graph_of(network, size=16)
    assert {node.op_type for node in model.graph.node} == operations
    golden.check_logits(run(model, images), reference_logits(network, images), tolerance=1e-6)


def test_a_pointwise_convolution_runs_after_the_mean_and_a_wide_one_before() -> None:
    for kernel, order in ((1, ["AveragePool", "Conv"]), (3, ["Conv", "AveragePool"])):
        layers = {"conv": nn.Conv2d(3, 8, kernel), "mean": nn.AvgPool2d(2, 2)}
        model = graph_of(Net(lambda n, x: torch.flatten(n.mean(n.conv(x)), 1), **layers).eval(), size=16)
        assert [node.op_type for node in model.graph.node][:2] == order


def test_norms_are_folded_in_float64_and_rounded_once() -> None:
    network = Net(lambda n, x: torch.flatten(n.norm(n.conv(x)), 1), **_conv_norm()).eval()
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph_of(network, size=16).graph.initializer}
    conv, norm = network.conv, network.norm
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    exact = conv.weight.double() * scale[:, None, None, None]
    assert np.array_equal(weights["conv.weight"], exact.detach().float().numpy())
    shift = norm.bias.double() - norm.running_mean.double() * scale
    assert np.array_equal(weights["conv.bias"], shift.detach().float().numpy())


def test_the_ten_networks_are_traced_by_rows_alone() -> None:
    used = set()
    for model in MODELS.values():
        nodes = trace(build_network(model, device="meta").to_empty(device="cpu"), SIZE, OPERATIONS).nodes
        used |= {node.target for node in nodes if node.op == "call_function"}
    assert used - {getitem} <= set(OPERATIONS)
    assert len(used) == 12


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("folded", [False, True])
def test_weights_that_fp16_cannot_hold_are_refused_by_name(folded: bool, tmp_path: Path) -> None:
    layers = _conv_norm() if folded else {"conv": nn.Conv2d(3, 4, 3), "norm": nn.ReLU()}
    network = Net(lambda n, x: torch.flatten(n.pool(n.norm(n.conv(x))), 1), pool=nn.AdaptiveAvgPool2d(1), **layers).eval()
    network.conv.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ExportError) as caught:
        translate(network, order(precision="fp16", size=16)).write(tmp_path / "n.onnx")
    assert str(caught.value) == "conv.weight does not fit FP16, whose largest value is 65504."
    translate(network, order(size=16)).write(tmp_path / "n.onnx")


# --- the file ---


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["densenet121", "dpn68"])
def test_the_streamed_file_equals_the_whole_message(
    name: str, precision: str, networks: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    digest = translate(networks(name), order(model=name, precision=precision)).write(tmp_path / "n.onnx")
    model = graph_of(networks(name), model=name, precision=precision)
    assert onnx.load(tmp_path / "n.onnx") == model
    onnx.checker.check_model(tmp_path / "n.onnx", full_check=True)

    assert digest == sha256_file(tmp_path / "n.onnx")


def test_an_invalid_graph_is_refused_with_the_checkers_message(networks: Callable[[str], nn.Module]) -> None:
    graph = translate(networks("dpn68"), order())
    graph.node("Relu", "stray", "nothing")
    with pytest.raises(ExportError, match=r"^net is not valid ONNX: "):
        graph.check()


PROGRAM = """
import sys
from pathlib import Path
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.models import MODELS, build_network
from trtzoo.exporter.fx_to_onnx import translate
from trtzoo.models.seeded import seed
network = seed(build_network(MODELS["densenet121"], device="meta"))
order = ExportOrder(model="densenet121", precision="fp16", size=64)
print(translate(network, order).write(Path("n.onnx")), end="")
"""


def test_the_bytes_are_the_same_from_any_folder_and_process(
    networks: Callable[[str], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for salt in ("1", "2"):
        folder = tmp_path / f"folder {salt}"
        folder.mkdir()
        monkeypatch.setenv("PYTHONHASHSEED", salt)
        monkeypatch.setenv("OMP_NUM_THREADS", salt)
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert found == {
        translate(networks("densenet121"), order(model="densenet121", precision="fp16")).write(tmp_path / "n.onnx")
    }


@given(st.integers(0, 2**63 - 1))
def test_a_varint_equals_protobufs(value: int) -> None:
    tensor = TensorProto(dims=[value])
    assert varint(value) in tensor.SerializeToString()
    assert [byte & 0x7F for byte in varint(value)] == [value >> 7 * place & 0x7F for place in range(len(varint(value)))]
    assert all(byte & 0x80 for byte in varint(value)[:-1]) and not varint(value)[-1] & 0x80
