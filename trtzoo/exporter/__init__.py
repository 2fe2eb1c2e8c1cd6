"""Stage 1: a network becomes a verified ONNX file with its golden sample and sidecar."""

from trtzoo.exporter.plan import ExportResult, export

__all__ = ["ExportResult", "export"]
