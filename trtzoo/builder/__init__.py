"""Stage 2: an ONNX file becomes a TensorRT engine, in a child process of its own."""

from trtzoo.builder.plan import BuildOrder, BuildResult, BuildSettings, Target, build, choose_target

__all__ = ["BuildOrder", "BuildResult", "BuildSettings", "Target", "build", "choose_target"]
