"""Run the engine builder against doubles of TensorRT's classes that have exactly the names of the real bindings.

`python api_double.py MODULE JOB SCRIPT` imports the real module and gives the code under test doubles of its classes. A double
has the names of the real class and no others; a method takes the arguments that its documentation gives, and returns a double
of the class that it documents. The names that were used are printed as JSON.
"""

import importlib
import inspect
import json
import re
import sys
import threading
from types import SimpleNamespace

import msgspec

from trtzoo.builder import tensorrt_worker
from trtzoo.builder.tensorrt_worker import BuildJob
from trtzoo.core.errors import BuildError

touched: list[str] = []
flags: list[str] = []
real = importlib.import_module(sys.argv[1])
ours = SimpleNamespace(
    parses=True, mute=False, errors=1, plan=True, fits=True, shape=[-1, 3, 8, 8], dtype="HALF", inside=["FP16"]
)
NOTED = {"builder_optimization_level", "avg_timing_iterations", "max_aux_streams", "tiling_optimization_level", "precision"}
RENAMED = {"nvonnxparser::IParserError": "ParserError", "nvinfer1::IEngineInspector": "EngineInspector"}
PLAIN = ("None", "bool", "int", "str")


class Double:
    """Something with the names of `cls`."""

    def __init__(self, cls: type) -> None:
        self.__dict__.update(_cls=cls, _set={}, _given={})

    def __getattr__(self, name: str) -> object:
        attribute = member(self._cls, name)
        touched.append(f"{self._cls.__name__}.{name}")
        if name in self._set:
            return self._set[name]
        if isinstance(attribute, property):
            return value(self._cls, name)
        return lambda *args, **kwargs: call(self, name, attribute.__doc__, args, kwargs)

    def __setattr__(self, name: str, new: object) -> None:
        attribute = member(self._cls, name)
        assert isinstance(attribute, property) and attribute.fset, f"{self._cls.__name__}.{name} cannot be set"
        touched.append(f"{self._cls.__name__}.{name} =")
        if name in NOTED:
            flags.append(f"{name} {getattr(new, 'name', new)}")
        self._set[name] = new


def member(cls: type, name: str) -> object:
    """The class's own attribute; AttributeError where the real class has none, so that hasattr works."""
    try:
        return inspect.getattr_static(cls, name)
    except AttributeError:
        raise AttributeError(f"{cls.__module__}.{cls.__name__} has no {name}") from None


def value(cls: type, name: str) -> object:
    types = {
        "type": lambda: real.LayerType.CONVOLUTION,
        "dtype": lambda: getattr(real.DataType, ours.dtype),
        "shape": lambda: ours.shape,
        "name": lambda: "images",
        "num_errors": lambda: ours.errors,
    }
    return types[name]() if name in types else 1


def call(owner: Double, name: str, doc: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    returned = {returns for parameters, returns in signatures(name, doc) if takes(parameters, args, kwargs)}
    assert returned, f"{owner._cls.__name__}.{name} does not take {args} {kwargs}; it is {doc.splitlines()[:6]}"
    if name in ("set_flag", "clear_flag"):
        flags.append(f"{name} {args[0].name}")
    if name == "set_output_type":
        flags.append(f"output {args[0]} {args[1].name}")
    if name == "create_network":
        flags.append(f"network {args[0]}")
    if name == "set_compute_capability":
        flags.append(f"capability {args[0].name}")
    if name == "build_serialized_network":
        return built(args[1])
    scripted = {
        "parse_from_file": ours.parses,
        "get_engine_information": inspected(),
        "serialize": b"timings",
        "combine": True,
        "set_timing_cache": ours.fits or flags.count("cache refused") > 0,
        "node": 3,
        "desc": "no such thing",
        "node_name": "head",
        "node_operator": "Gelu",
        "code": SimpleNamespace(name="UNSUPPORTED_NODE"),
    }
    if name == "set_timing_cache" and not scripted[name]:
        flags.append("cache refused")
    if name in scripted:
        return scripted[name]
    (kind,) = returned
    kind = RENAMED.get(kind, kind.rpartition(".")[2])
    return None if kind in PLAIN else owner._given.setdefault((name, args), Double(getattr(real, kind)))


def inspected() -> str:
    """The inspector's JSON of an engine with a convolution of each type in `ours.inside`."""
    outputs = [{"Format/Datatype": f"Row major linear {kind} format"} for kind in ours.inside]
    return json.dumps({"Layers": [{"Name": "conv", "LayerType": "CaskConvolution", "Outputs": [each]} for each in outputs]})


def built(config: Double) -> bytes | None:
    """A build that takes two steps and lists its flags."""
    watch = config._set.get("progress_monitor")
    if watch is not None:
        watch.phase_start("Building engine", None, 2)
        assert watch.step_complete("Building engine", 0) is True
        watch.phase_finish("Building engine")
        flags.append("monitored")
    return b"a plan" if ours.plan else None


def signatures(name: str, doc: str) -> list[tuple[list[str], str]]:
    """The parameters ("index: int", "flags: int = 0") and the result of every overload in a binding's documentation."""
    found = re.findall(rf"^(?:\d+\. )?{name}\((self.*)\) -> (.+)$", doc, re.MULTILINE)
    return [(re.split(r", (?![^\[(]*[\])])", parameters)[1:], returns.strip()) for parameters, returns in found]


def takes(parameters: list[str], args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
    names = [parameter.partition(":")[0].strip() for parameter in parameters]
    needed = [name for name, parameter in zip(names, parameters, strict=True) if "=" not in parameter]
    given = set(names[: len(args)]) | set(kwargs)
    return len(args) <= len(names) and set(kwargs) <= set(names[len(args) :]) and set(needed) <= given


class Module:
    """The module: its factories make doubles, all else is real."""

    def __getattr__(self, name: str) -> object:
        attribute = getattr(real, name)
        touched.append(name)
        if name not in ("Builder", "OnnxParser", "Runtime"):
            return attribute

        def make(*args: object, **kwargs: object) -> Double:
            ways = signatures("__init__", attribute.__init__.__doc__)
            assert any(takes(parameters, args, kwargs) for parameters, _ in ways), f"{name}{args} is not one of {ways}"
            if name == "Builder":
                if ours.mute:
                    raise TypeError("pybind11::init(): factory function returned nullptr")
                args[0].log(real.ILogger.ERROR, "out of luck")
                args[0].log(real.ILogger.INFO, "this is no error")
            return Double(attribute)

        return make


def main() -> None:
    job = msgspec.json.decode(sys.argv[2], type=BuildJob)
    ours.__dict__.update(json.loads(sys.argv[3]))
    trt = Module()
    try:
        outcome = msgspec.to_builtins(tensorrt_worker.build(trt, job, lambda progress: None, threading.Event()))
    except BuildError as error:
        outcome = {"error": str(error)}
    print(json.dumps({"outcome": outcome, "flags": flags, "touched": sorted(set(touched))}))


main()
