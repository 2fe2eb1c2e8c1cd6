"""Stage 3: parity. Paired comparison of an engine with the PyTorch reference, and the limits it must keep."""
