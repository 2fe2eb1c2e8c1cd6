"""Stage 1: a network becomes a verified ONNX file with its golden sample and sidecar."""
