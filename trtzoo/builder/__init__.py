"""Stage 2: an ONNX file becomes a TensorRT engine, one child process for each build."""
