"""A device whose name is not exactly a card's, such as an emulated one, is never shown as that card or with a ratio to it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.report.results import T4, gpu_result
from trtzoo.hardware.devices import slug
from trtzoo.hardware.gpus import GPUS
from trtzoo.report.explain import explain
from trtzoo.report.figures.pictures import pictures
from trtzoo.report.page.rows import measured
from trtzoo.report.results import Found
from trtzoo.report.tables.latency import latency_tables, limit_tables

CARDS = [(card, GPUS[gpu].sm) for gpu in ("t4", "v100") for card in GPUS[gpu].names]
FORMS = ("{} (emulated)", "Emulated {}", "NVIDIA {}", "GeForce {}", "{} ", "{}-8Q")
OTHERS = [(form.format(card), sm) for card, sm in CARDS for form in FORMS] + [("T4", 75), ("V100", 70), ("tesla t4", 75)]
NAMES = [(name, sm) for name, sm in OTHERS if (name, sm) not in CARDS]


def on(name, sm):
    """A result by the published protocol."""
    device = replace(T4, name=name, key=slug(name), sm=sm)
    made = gpu_result(batch=1, protocol="paddle2020", runtime="tensorrt")
    return replace(made, device=device, case=replace(made.case, device=device.key))


@pytest.mark.parametrize(("name", "sm"), CARDS)
def test_a_card_is_shown_as_its_gpu_with_ratios(name, sm):
    (table,) = (table for table in latency_tables([on(name, sm)]) if name in table.title.split("in ms")[1])
    assert table.title.startswith("Inference speed on ") and "b1 ratio" in table.columns
    assert measured(on(name, sm)).ratio and "measured / published" in explain(Found(Path("f"), on(name, sm)))["Published"]


@pytest.mark.parametrize(("name", "sm"), NAMES)
def test_another_name_is_not_shown_as_the_card(name, sm):
    result = on(name, sm)
    (own, *published) = latency_tables([result])
    assert all(table.caption[0].startswith("Nothing was measured on a ") for table in published)
    assert own.title == f"Latency in ms, FP32, on {name}, tensorrt, paddle2020"
    assert not any("ratio" in column for column in own.columns)
    assert limit_tables([result]) == limit_tables([])
    assert measured(result).ratio is None
    assert "Published" not in explain(Found(Path("f"), result))
    (picture,) = (one for one in pictures([replace(result, case=replace(result.case, batch=4))]) if one.name == "t4-fp32-b4")
    assert picture.full == f"measured, {name}"
    assert f"measured on {name}, tensorrt, paddle2020 (other hardware than the published)" in picture.caption
