"""The zoo: networks, one table each in `zoo.toml`, their modules, weights from every publisher, and exact counts."""

from trtzoo.models.table import MODELS, Model, build_network, find_model, use_zoo, zoo

__all__ = ["MODELS", "Model", "build_network", "find_model", "use_zoo", "zoo"]
