"""The files that stages exchange: ONNX file, engine, golden sample. Each is checked when it is opened."""

from trtzoo.artifacts.engines import EngineSidecar, Recipe, load_plan
from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar

__all__ = ["EngineSidecar", "ExportOrder", "OnnxSidecar", "Recipe", "load_plan"]
