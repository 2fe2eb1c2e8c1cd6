"""Compare the double of TensorRT's runtime with the real bindings: `python trt_contract.py MODULE DOUBLE` prints what is wrong.

The tests of sessions run on the double, so the double must have no class, method or argument that the real bindings lack. The
bindings' documentation gives the arguments.
"""

import importlib
import importlib.util
import inspect
import json
import re
import sys
from enum import Enum

OPTIONAL = {"IProgressMonitor", "EXPLICIT_BATCH", "STRONGLY_TYPED"}  # the builder uses those that the bindings have
ALTERNATIVES = {"device_memory_size_v2": "device_memory_size"}  # an attribute of new bindings, and of old ones


def main() -> None:
    name, folder = sys.argv[1:]
    real = importlib.import_module(name)
    sys.path.append(folder)
    spec = importlib.util.spec_from_file_location("double", f"{folder}/{name}.py")
    double = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(double)
    found = [problem for cls in classes(double) for problem in compare(getattr(real, cls.__name__, None), cls)]
    print(json.dumps({"wrong": found, "compared": [cls.__name__ for cls in classes(double)], "runtime_cache": cache(real)}))


def classes(module):
    return [value for value in vars(module).values() if inspect.isclass(value) and not value.__name__.startswith("_")]


def cache(real):
    return hasattr(real, "IRuntimeCache")


def compare(real, double):
    if real is None and double.__name__ in OPTIONAL:
        return []
    if real is None:
        return [f"there is no {double.__name__}"]
    if issubclass(double, Enum):
        members = [each.name for each in double if each.name not in ("NONE", "BF16", *OPTIONAL)]  # BF16 is for one of our tests
        return [f"{double.__name__} has no {name}" for name in members if not hasattr(real, name)]
    names = {name for cls in double.__mro__ for name in vars(cls) if not name.startswith("_") and cls is not object}
    return [problem for name in sorted(names) if (problem := differs(real, double, name))]


def differs(real, double, name):
    ours, theirs = inspect.getattr_static(double, name), inspect.getattr_static(real, name, None)
    attribute = f"{double.__name__}.{name}"
    theirs = theirs or inspect.getattr_static(real, ALTERNATIVES.get(name, ""), None)
    if theirs is None:
        return f"there is no {attribute}"
    if inspect.isclass(ours) or not (inspect.isfunction(ours) or isinstance(ours, property)):
        return ""
    if isinstance(ours, property) != isinstance(theirs, property):
        return f"{attribute} is a property in one and a method in the other"
    if isinstance(ours, property):
        return ""
    arguments = list(inspect.signature(ours).parameters)[1:]
    known = overloads(name, theirs.__doc__)
    return "" if any(takes(each, arguments) for each in known) else f"{attribute} takes {known}, not {arguments}"


def overloads(name, doc):
    """The parameters of each overload, as "name: type" or "name: type = default"."""
    found = re.findall(rf"^(?:\d+\. )?{name}\((self.*)\) -> .+$", doc, re.MULTILINE)
    return [re.split(r", (?![^\[(]*[\])])", parameters)[1:] for parameters in found]


def takes(parameters, arguments):
    """Whether the arguments are the first parameters, in order, and no more are needed."""
    names = [parameter.partition(":")[0].strip() for parameter in parameters]
    needed = sum("=" not in parameter for parameter in parameters)
    return needed <= len(arguments) <= len(names) and names[: len(arguments)] == arguments


main()
