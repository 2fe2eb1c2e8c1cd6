"""The blocks of a graph: a node's name is its module's path, so it says its block."""

import re
from collections.abc import Iterable
from typing import Any

BLOCK = re.compile(r"features_(denseblock\d+_denselayer\d+|transition\d+|conv[2-5]_\d+)(?=_|$)")
"""A node's name is its module's path. Functions between modules (Concat, Split, Add) belong to the block before them."""


def node_blocks(nodes: Iterable[Any]) -> list[str]:
    """The name of each ONNX node's block, from stem to head. Q/DQ nodes belong to the block before them."""
    found, block = [], "stem"
    for node in nodes:
        if match := BLOCK.match(node.name):
            block = match[1].replace("_denselayer", ".denselayer")
        elif block != "stem" and node.name.startswith(("features_", "pool", "classifier")):
            block = "head"
        found.append(block)
    return found
