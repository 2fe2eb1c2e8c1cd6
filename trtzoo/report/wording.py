"""Phrases that tables, page and figures share."""

from trtzoo.core.records import Device, Weights


def device_text(device: Device) -> str:
    """What ran, with what a reader needs to tell it from another of its name."""
    return f"{device.name}, {device.cores} cores" if device.kind == "cpu" else f"{device.name}, driver {device.driver}"


def weights_text(weights: Weights | None) -> str:
    """Whose weights, and a warning where they are nobody's."""
    if weights is None:
        return "weights unknown"
    return "SEEDED weights, which classify nothing" if weights.source == "seeded" else f"weights of {weights.source}"
