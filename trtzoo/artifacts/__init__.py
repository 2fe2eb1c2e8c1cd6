"""The files that stages exchange (ONNX graph, engine, golden sample), each checked when it is opened."""
