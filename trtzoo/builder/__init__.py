"""Stage 2: an ONNX file becomes a TensorRT engine, in a child process of its own."""
