"""Rewrites a classifier's ONNX graph to the form that trtzoo exports: BN folded, matrix products as 1x1 convolutions.

Every rewrite keeps what the graph computes; whoever calls checks that against logits of the original. Dropout and Identity go.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from trtzoo.artifacts.counting import GraphCount, count_graph, known_shapes
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError

OLDEST, MODERN = 13, 17  # opsets
FOLDED_LIMIT = 1 << 28  # elements of a constant that is computed in advance
NEVER_FOLDED = {"QuantizeLinear", "DequantizeLinear", "RandomNormal", "RandomUniform", "Multinomial", "Bernoulli"}


class Rewriter:
    """One graph that is being rewritten, in place; `notes` has a phrase for each rewrite that was made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, model.graph
        self.notes: list[str] = []
        self.tensors = {tensor.name: tensor for tensor in self.graph.initializer}
        self.added = 0

    def array(self, name: str) -> Array | None:
        """The values of a constant, None if it is none."""
        return numpy_helper.to_array(self.tensors[name]) if name in self.tensors else None

    def constant(self, hint: str, values: Array) -> str:
        """Add a constant under a new name."""
        name = hint
        while name in self.tensors:
            self.added += 1
            name = f"{hint}.{self.added}"
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def readers(self) -> Counter[str]:
        """How often each value is read; the graph's outputs count, and what a subgraph reads counts twice."""
        count = Counter(output.name for output in self.graph.output)
        for node in self.graph.node:
            count.update(node.input)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    count.update(dict.fromkeys(_names(inner), 2))
        return count

    def replace(self, nodes: list[Any]) -> None:
        """These are the graph's nodes now."""
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def finish(self) -> onnx.ModelProto:
        """The model, with what is used only."""
        self._drop_unused()
        used = self.readers()
        del self.graph.initializer[:]
        self.graph.initializer.extend(tensor for name, tensor in self.tensors.items() if used[name])
        return self.model

    def _drop_unused(self) -> None:
        wanted = {output.name for output in self.graph.output}
        kept = []
        for node in reversed(self.graph.node):
            if wanted & set(node.output):
                kept.append(node)
                wanted.update(node.input)
                for attribute in node.attribute:
                    for inner in (attribute.g, *attribute.graphs):
                        wanted.update(_names(inner))
        self.replace(kept[::-1])


def _names(graph: Any) -> set[str]:
    """The names that a subgraph reads."""
    names = {output.name for output in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _names(inner)
    return names


def upgrade(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """The model in opset MODERN at least: before 13, Softmax meant something else, and no FP16 was allowed in some operations.

    Raises ExportError if onnx cannot convert it.
    """
    found = opset_of(model)
    if found >= OLDEST:
        return model
    upgraded = convert(model, MODERN)
    notes.append(f"opset {found} converted to {MODERN}")
    return upgraded


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of ONNX's own operations."""
    return next((row.version for row in model.opset_import if row.domain in ("", "ai.onnx")), 1)


def convert(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model in another opset. Raises ExportError if onnx cannot convert it."""
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # onnx's converter raises RuntimeError and others
        reason = " ".join(str(error).split())[:200]
        raise ExportError(f"opset {opset_of(model)} is too old, and onnx cannot convert it to {opset}: {reason}") from error


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without texts, annotations and local functions, whose inputs are no weights."""
    inlined = onnx.inliner.inline_local_functions(model) if model.functions else model
    tidied = onnx.ModelProto(ir_version=max(inlined.ir_version, 4), producer_name="trtzoo")
    tidied.opset_import.extend(inlined.opset_import)
    graph = tidied.graph
    graph.CopyFrom(inlined.graph)
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    del graph.input[:], graph.value_info[:], graph.metadata_props[:], graph.quantization_annotation[:]
    graph.input.extend(onnx.ValueInfoProto(name=value.name, type=value.type) for value in inputs)
    graph.name, graph.doc_string = "classifier", ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return tidied


# --- the rewrites ---


def compute_constants(work: Rewriter) -> None:
    """Replace nodes whose inputs are all constant by what they compute."""
    opsets = list(work.model.opset_import)
    kept = []
    for node in work.graph.node:
        constant = node.op_type == "Constant" or all(not name or name in work.tensors for name in node.input)
        nested = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        computed = None
        if constant and not nested and not node.domain and node.op_type not in NEVER_FOLDED:
            computed = _computed(node, {name: work.array(name) for name in node.input if name}, opsets)
        if computed is None:
            kept.append(node)
            continue
        for name, values in zip(node.output, computed, strict=False):
            work.tensors[name] = numpy_helper.from_array(values, name)
    work.replace(kept)


def _computed(node: Any, given: dict[str, Array | None], opsets: list[Any]) -> list[Array] | None:
    """What the node computes; None if onnx cannot say, or it is too large."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in given]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.output if name]
    if node.op_type == "ConstantOfShape" and np.prod(np.asarray(next(iter(given.values())), np.float64)) > FOLDED_LIMIT:
        return None
    try:
        graph = helper.make_graph([node], "constant", inputs, outputs)
        found = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, given)
    except Exception:  # onnx's evaluator has no common error; the node stays
        return None
    arrays = [np.asarray(each) for each in found]
    return arrays if all(each.size <= FOLDED_LIMIT and each.dtype != object for each in arrays) else None


def drop_leftovers(work: Rewriter) -> None:
    """Remove what does nothing when a network is used: Identity, Dropout, and a Cast or Reshape that changes nothing."""
    outputs, names, kept = {output.name for output in work.graph.output}, dict[str, str](), []
    for node in work.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type in ("Identity", "Dropout") and not node.domain and node.output[0] not in outputs:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    work.replace(kept)


def fold_norms(work: Rewriter) -> None:
    """Fold each BN that alone reads a convolution into it, in float64; the weights are rounded once."""
    readers, made, kept, folded = work.readers(), dict[str, Any](), [], 0
    for node in work.graph.node:
        source = made.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        affine = affine_of_norm(work, node) if source is not None and readers[source.output[0]] == 1 else None
        weight = work.array(source.input[1]) if source is not None else None
        bias = work.array(source.input[2]) if source is not None and len(source.input) > 2 else np.zeros(1)
        if affine is None or weight is None or bias is None or source is None:
            made.update({name: node for name in node.output if node.op_type == "Conv"})
            kept.append(node)
            continue
        scale, shift = affine
        scaled = weight.astype(np.float64) * scale.reshape(-1, *[1] * (weight.ndim - 1))
        names = [
            work.constant(f"{source.input[1]}.folded", scaled.astype(weight.dtype)),
            work.constant(f"{source.input[1]}.shift", (bias * scale + shift).astype(weight.dtype)),
        ]
        source.input[:] = [source.input[0], *names]
        source.output[0] = node.output[0]
        made[node.output[0]] = source
        folded += 1
    work.replace(kept)
    if folded:
        work.notes.append(f"{folded} BN folded")


def affine_of_norm(work: Rewriter, node: Any) -> tuple[Array, Array] | None:
    """The scale and shift of a BN in float64; None if they are not constant."""
    given = [work.array(name) for name in node.input[1:5]]
    if (len(node.output) > 1 and any(node.output[1:])) or any(each is None for each in given):
        return None
    scale, bias, mean, variance = (np.asarray(each, np.float64) for each in given)
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    scale = scale / np.sqrt(variance + epsilon)
    return scale, bias - mean * scale


def products_to_convolutions(work: Rewriter) -> None:
    """Matrix products of (N, C) features and constant weights, as a classifier ends, become 1x1 convolutions.

    TensorRT does not have an FP32 GEMM on every GPU, and it has this convolution on all.
    """
    ranks = {name: len(shape) for name, shape in known_shapes(work.finish()).items()}
    readers, nodes, kept, names = work.readers(), list(work.graph.node), [], []
    following = {name: node for node in nodes for name in node.input}
    merged = set()
    for node in nodes:
        if node.output[0] in merged:
            continue
        made = None
        if node.op_type == "Gemm":
            made = _from_gemm(work, node)
        elif node.op_type == "MatMul" and ranks.get(node.input[0]) == 2:
            after = following.get(node.output[0]) if readers[node.output[0]] == 1 else None
            made = _from_matmul(work, node, after)
            if made and after is not None and made[-1].output[0] == after.output[0]:
                merged.add(after.output[0])
        kept += made or [node]
        names += [node.name or node.output[0]] if made else []
    work.replace(kept)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        work.notes.append(f"{names[-1]}{more} as 1x1 convolution{'s' if more else ''}")


def _from_gemm(work: Rewriter, node: Any) -> list[Any] | None:
    facts = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    weight = work.array(node.input[1])
    bias = work.array(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if weight is None or bias is None or facts.get("transA") or bias.ndim > 2 or (bias.ndim == 2 and len(bias) > 1):
        return None
    matrix = weight if facts.get("transB") else weight.T
    alpha, beta = facts.get("alpha", 1.0), facts.get("beta", 1.0)
    bias = np.broadcast_to(bias.reshape(-1), (len(matrix),))
    if alpha != 1.0 or beta != 1.0:
        matrix, bias = matrix.astype(np.float64) * alpha, bias.astype(np.float64) * beta
    return _convolution(work, node, matrix.astype(weight.dtype), bias.astype(weight.dtype), node.output[0])


def _from_matmul(work: Rewriter, node: Any, after: Any) -> list[Any] | None:
    """`after` is the only node that reads the product: an Add of a constant becomes the bias."""
    weight = work.array(node.input[1])
    if weight is None or weight.ndim != 2:
        return None
    matrix, bias, output = weight.T, np.zeros(weight.shape[1], weight.dtype), node.output[0]
    if after is not None and after.op_type == "Add":
        (other,) = [name for name in after.input if name != node.output[0]] or [node.output[0]]
        given = work.array(other)
        if given is not None and given.size in (1, len(matrix)) and given.shape[-1:] in ((), (1,), (len(matrix),)):
            bias, output = np.broadcast_to(given.reshape(-1), (len(matrix),)), after.output[0]
    return _convolution(work, node, matrix, bias, output)


def _convolution(work: Rewriter, node: Any, matrix: Array, bias: Array, output: str) -> list[Any]:
    """(N, C) → Reshape → Conv → Flatten → (N, K); `matrix` is (K, C)."""
    name = node.name or output
    shape = work.constant(f"{name}.shape", np.array([0, matrix.shape[1], 1, 1]))
    weight = work.constant(f"{name}.weight", matrix[:, :, None, None])
    parts = [node.input[0], f"{output}.pixels", f"{output}.scores", output]
    return [
        helper.make_node("Reshape", [parts[0], shape], [parts[1]], name=f"{name}_pixels"),
        helper.make_node(
            "Conv", [parts[1], weight, work.constant(f"{name}.bias", bias)], [parts[2]], name=name, kernel_shape=[1, 1]
        ),
        helper.make_node("Flatten", [parts[2]], [parts[3]], name=f"{name}_flat", axis=1),
    ]


def end_with_matrix(work: Rewriter) -> None:
    """Flatten logits (N, classes, 1, 1) to (N, classes), and declare that shape."""
    (output,), (images,) = work.graph.output, work.graph.input
    shape = known_shapes(work.finish()).get(output.name, ())
    if len(shape) < 2:
        return
    sides = output.type.tensor_type.shape.dim
    del sides[:]
    sides.add().CopyFrom(images.type.tensor_type.shape.dim[0])
    sides.add(dim_value=shape[1])
    if len(shape) == 2:
        return
    inner = f"{output.name}.unflattened"
    for node in work.graph.node:
        for names in (node.input, node.output):
            names[:] = [inner if name == output.name else name for name in names]
    work.replace([*work.graph.node, helper.make_node("Flatten", [inner], [output.name], name="flatten", axis=1)])
    work.notes.append("logits flattened")


REWRITES: tuple[Callable[[Rewriter], None], ...] = (
    drop_leftovers,
    fold_norms,
    products_to_convolutions,
    end_with_matrix,
)


class Rewritten(msgspec.Struct, frozen=True):
    """A graph before (`original`, in a modern opset) and after its rewrites, what they were, and what the original has."""

    original: onnx.ModelProto
    model: onnx.ModelProto
    notes: list[str]
    count: GraphCount


def rewrite(model: onnx.ModelProto) -> Rewritten:
    """Rewrite a model whose weights are loaded. It is not changed. Raises ExportError if its opset cannot be converted."""
    notes: list[str] = []
    original = tidy(upgrade(model, notes))
    work = Rewriter(tidy(original))
    work.notes = notes
    compute_constants(work)
    count = count_graph(work.finish())
    for step in REWRITES:
        step(work)
    return Rewritten(original, work.finish(), notes, count)
