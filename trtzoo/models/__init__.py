"""The ten networks: one row each in `table.py`, their modules, weights from every publisher, and exact counts."""

from trtzoo.models.table import MODELS, Model, build_network, find_model

__all__ = ["MODELS", "Model", "build_network", "find_model"]
