"""Phrases that tables, page and figures share."""

from collections.abc import Mapping

from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.records import Device, Weights


def device_text(device: Device) -> str:
    """Describe a device, and what distinguishes it from another with its name."""
    return f"{device.name}, {device.cores} cores" if device.kind == "cpu" else f"{device.name}, driver {device.driver}"


def pairs_text(pairs: Mapping[str, str], separator: str = " ") -> str:
    """List names and values, such as versions."""
    return separator.join(f"{name} {value}" for name, value in pairs.items())


def protocol_text(name: str) -> str:
    """Describe a protocol: its statistic, metric and loop."""
    row = PROTOCOLS[name]
    return f"{name}: {row.statistic} of {row.metric}; {row.note}"


def weights_text(weights: Weights | None) -> str:
    """Describe the source of the weights, with a warning for seeded ones."""
    if weights is None:
        return "weights unknown"
    seeded = "SEEDED weights (latency is valid, accuracy is not)"
    return seeded if weights.source == "seeded" else f"weights of {weights.source}"


def ms(seconds: float) -> str:
    """Format seconds as milliseconds."""
    return f"{seconds * 1e3:.3f} ms"
