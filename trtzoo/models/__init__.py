"""The ten networks: one table each in `models.toml`, their modules, weights from every publisher, and exact counts."""

from trtzoo.models.table import MODELS, Model, build_network, find_model

__all__ = ["MODELS", "Model", "build_network", "find_model"]
