"""Stage 1: a network becomes a checked ONNX file with its golden sample and sidecar."""
