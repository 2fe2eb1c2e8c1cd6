"""Stage 3: parity. Paired comparison of a file with the PyTorch reference, and the tolerances it must meet."""

from trtzoo.verification.tolerances import TOLERANCES, ParityVerdict

__all__ = ["TOLERANCES", "ParityVerdict"]
