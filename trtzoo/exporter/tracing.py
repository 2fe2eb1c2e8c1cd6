"""Records what a network computes: its eval-mode `forward`, as a torch.fx graph of ATen operations.

The forward runs once, on images without memory (device "meta"), and each operation is seen as PyTorch dispatches it. Python's
control flow has happened by then, so any network whose flow does not depend on the images' values can be recorded. Operations
on weights alone are computed, in float64.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_leaves, tree_map_only

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError

BATCH = 4099
"""The batch size while a network is traced. It is prime: a length contains the batch if this number divides it."""

LARGEST = 1 << 27
"""Values that a constant may have while the network is traced: 1 GB."""

aten = torch.ops.aten
NOTHING = {  # operations that return their first argument in eval mode
    *(aten.contiguous, aten.clone, aten.detach, aten.alias, aten.to, aten._to_copy, aten.type_as),
    *(aten.dropout, aten.dropout_, aten.feature_dropout, aten.feature_dropout_, aten.alpha_dropout),
}

# Operations whose result has the shape of their first argument: PyTorch's own shape functions take ten times longer.
SAME_SHAPE = {
    *(aten.batch_norm, aten.layer_norm, aten.group_norm, aten.rms_norm, aten.softmax),
    *(aten.relu, aten.relu6, aten.gelu, aten.silu, aten.hardswish, aten.hardsigmoid, aten.hardtanh, aten.sigmoid, aten.mish),
}
ARITHMETIC = {aten.add, aten.sub, aten.mul, aten.div}


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the images. `batched`: it stands for BATCH equal ones along its first dimension."""

    name: str  # the parameter's or buffer's, or empty
    values: Array
    batched: bool = False


def trace(network: nn.Module, size: int, known: Collection[Any]) -> fx.Graph:
    """The graph of a network for images of `size` x `size`. A node's `meta["shape"]` is its result's, with BATCH images.

    An operation that is not `known` is recorded as what PyTorch decomposes it into. Raises ExportError for one that remains
    unknown, for control flow that depends on the images, and for a result that is not one tensor (N, classes).
    """
    recorder = _Recorder(network, known)
    images = torch.empty(BATCH, 3, size, size, device="meta")
    recorder.bind(images, recorder.graph.placeholder("images"))
    below_autograd = torch._C._AutoDispatchBelowADInplaceOrView()  # operations arrive whole
    try:
        with torch.no_grad(), below_autograd, _running_modules(recorder.running), recorder:
            logits = network(images)
    except ExportError:
        raise
    except Exception as error:  # PyTorch's or the network's own
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise ExportError(f"its forward cannot be traced: {type(error).__name__}: {reason}") from error
    node = recorder.nodes.get(id(logits))
    if node is None or logits.dim() != 2:
        shape = list(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ExportError(f"its forward returns {shape}, not logits (N, classes)")
    recorder.graph.output(node).meta["shape"] = node.meta["shape"]
    recorder.graph.eliminate_dead_code()
    return recorder.graph


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operations on tensors that depend on the images: those that `nodes` has by their id."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch's own hook: False spares the import of its compiler, which takes a second and needs a temporary folder."""
        return False

    def __init__(self, network: nn.Module, known: Collection[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.known = fx.Graph(), known
        self.nodes: dict[int, fx.Node] = {}
        self.running: list[nn.Module] = []
        self._kept: list[Tensor] = []  # so that no other tensor gets an id of `nodes`
        self._names = {id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())}
        self._paths = {id(module): name for name, module in network.named_modules()}
        self._taken: set[str] = set()

    def bind(self, tensor: Tensor, node: fx.Node) -> None:
        self.nodes[id(tensor)] = node
        self._kept.append(tensor)
        node.meta["shape"] = tuple(tensor.shape)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, func.overloadpacket
        if not tree_any(self._depends, (args, kwargs)):
            return self._computed(func, args, kwargs)
        if packet in NOTHING:
            return self._same(func, args, kwargs) if self._depends(args[0]) else args[0]
        functional = _functional(packet)
        if functional in self.known:
            return self._recorded(func, functional, args, kwargs)
        with self:
            if func in _decompositions():
                return _decompositions()[func](*args, **kwargs)
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            raise ExportError(f"no ONNX operation is known for {functional.__name__}{self._place()}")
        return result

    def _depends(self, value: Any) -> bool:
        return id(value) in self.nodes

    def _computed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of an operation on weights alone, or on nothing."""
        kwargs = kwargs | ({"device": "cpu"} if "device" in kwargs else {})
        if isinstance(kwargs.get("dtype"), torch.dtype) and kwargs["dtype"].is_floating_point:
            kwargs["dtype"] = torch.float64
        self._check_size(func, args, kwargs)
        result = func(*tree_map_only(Tensor, _exact, args), **tree_map_only(Tensor, _exact, kwargs))
        return tree_map_only(Tensor, _exact, result)

    def _check_size(self, func: Any, args: Any, kwargs: Any) -> None:
        """Raises ExportError before a constant is computed whose size grows with the batch beyond memory."""
        if func.is_view:
            return
        found = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if tree_any(lambda value: type(value) is int and value != 0 and value % BATCH == 0, (args, kwargs)):
            placed = kwargs | ({"device": "meta"} if "device" in kwargs else {})
            made = func(*tree_map_only(Tensor, _shape_only, args), **tree_map_only(Tensor, _shape_only, placed))
            found += [value for value in tree_leaves(made) if isinstance(value, Tensor)]
        if max((value.numel() for value in found), default=0) > LARGEST:
            raise ExportError(f"a constant of more than {LARGEST:,} values depends on the batch size{self._place()}")

    def _same(self, func: Any, args: Any, kwargs: Any) -> Any:
        result = func(*tree_map_only(Tensor, _shape_only, args), **tree_map_only(Tensor, _shape_only, kwargs))
        if self._depends(result):
            return result
        if result.is_floating_point():  # PyTorch's decompositions compute some results in a wider type
            result = result.to(torch.float32)
        self.bind(result, self.nodes[id(args[0])])
        return result

    def _recorded(self, func: Any, target: Any, args: Any, kwargs: Any) -> Any:
        result = _result(func, target, args, kwargs)
        arguments, named = (tree_map_only(Tensor, self._argument, given) for given in (args, kwargs))
        node = self.graph.create_node("call_function", target, arguments, named, name=self._name(target))
        if isinstance(result, Tensor):
            self.bind(result, node)
            return result
        node.meta["shape"] = tuple(tuple(part.shape) for part in result)
        for index, part in enumerate(result):
            self.bind(part, self.graph.call_function(getitem, (node, index)))
        return result

    def _argument(self, tensor: Tensor) -> fx.Node | Constant:
        if node := self.nodes.get(id(tensor)):
            return node
        name = self._names.get(id(tensor), "")
        if not any(length and length % BATCH == 0 for length in tensor.shape):
            return Constant(name, _array(tensor))
        if tensor.shape[0] != BATCH or not bool((tensor == tensor[:1]).all()):
            raise ExportError(f"a constant of shape {list(tensor.shape)} depends on the batch size{self._place()}")
        return Constant(name, _array(tensor[:1]), batched=True)

    def _name(self, target: Any) -> str:
        """The path of the running module, and the operation's name if it computes several; between modules, the operation's."""
        module, operation = self.running[-1] if self.running else None, str(target.__name__)
        if module is None or next(module.children(), None) is not None or not self._paths.get(id(module)):
            return operation
        path = str(self._paths[id(module)]).replace(".", "_")
        if path in self._taken:
            return f"{path}_{operation}"
        self._taken.add(path)
        return path

    def _place(self) -> str:
        path = self._paths.get(id(self.running[-1]), "") if self.running else ""
        return f" in {path}" if path else ""


def getitem(results: Any, index: int) -> Any:
    """One of an operation's several results."""
    return results[index]


@contextmanager
def _running_modules(stack: list[nn.Module]) -> Iterator[None]:
    """Meanwhile, `stack` has the modules whose forward runs."""

    def push(module: nn.Module, inputs: object) -> None:
        stack.append(module)

    def pop(module: nn.Module, inputs: object, result: object) -> None:
        stack.pop()

    hooks = register_module_forward_pre_hook(push), register_module_forward_hook(pop)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@cache
def _decompositions() -> dict[Any, Any]:
    from torch._decomp import core_aten_decompositions

    return core_aten_decompositions()


def _result(func: Any, target: Any, args: Any, kwargs: Any) -> Any:
    """Tensors without memory, as the operation would return them."""
    first = args[0]
    if shape := SHAPES.get(target):
        return torch.empty(shape(*args, **kwargs), device="meta")
    alike = target in SAME_SHAPE or (
        target in ARITHMETIC and (isinstance(args[1], int | float) or args[1].shape == getattr(first, "shape", None))
    )
    if alike and first.is_meta:
        return first if func._schema.is_mutable else torch.empty_like(first)
    return func(*tree_map_only(Tensor, _shape_only, args), **tree_map_only(Tensor, _shape_only, kwargs))


def _convolved(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    kernel = weight.shape[2:]
    strides, steps = (
        [value] * len(kernel) if isinstance(value, int) else value * (len(kernel) // len(value)) for value in (stride, dilation)
    )
    if isinstance(padding, str):
        wanted = [step * (length - 1) if padding == "same" else 0 for length, step in zip(kernel, steps, strict=True)]
    else:
        wanted = [
            2 * pad
            for pad in ([padding] * len(kernel) if isinstance(padding, int) else padding * (len(kernel) // len(padding)))
        ]
    sides = zip(x.shape[2:], kernel, strides, wanted, steps, strict=True)
    return [
        len(x),
        len(weight),
        *((side + pads - step * (length - 1) - 1) // stride + 1 for side, length, stride, pads, step in sides),
    ]


def _joined(parts: Any, dim: int = 0) -> Any:
    shape = list(parts[0].shape)
    shape[dim] = sum(part.shape[dim] for part in parts)
    return shape


def _pooled(x: Any, size: Any) -> Any:
    sides = [size] * 2 if isinstance(size, int) else size
    return [*x.shape[:-2], *(side if wanted is None else wanted for side, wanted in zip(x.shape[-2:], sides, strict=True))]


# Operations whose shapes PyTorch computes by modules that take seconds to import.
SHAPES: dict[Any, Any] = {
    aten.conv2d: _convolved,
    aten.conv1d: _convolved,
    aten.cat: _joined,
    aten.adaptive_avg_pool2d: _pooled,
    aten.linear: lambda x, weight, bias=None: [*x.shape[:-1], len(weight)],
}


def _functional(packet: Any) -> Any:
    """The operation that returns what an in-place one, whose name ends with "_", writes."""
    name = packet.__name__
    return getattr(aten, name[:-1], packet) if name.endswith("_") and not name.startswith("_") else packet


def _exact(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _shape_only(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.to("meta", torch.float32 if tensor.is_floating_point() else tensor.dtype)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()
