"""The files that stages exchange: ONNX file, engine, golden sample. Each is checked when it is opened."""
