"""Stage 3: parity. Paired comparison of a file with the PyTorch reference, and the tolerances it must meet."""
