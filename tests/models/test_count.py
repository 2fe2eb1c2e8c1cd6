"""Counting: every row's numbers come from its network, and the publisher's counter explains the published columns."""

import pytest

from trtzoo.core.errors import UsageError
from trtzoo.models.count import count
from trtzoo.models.table import MODELS
from trtzoo.report.published import document

SLIPS = {("densenet264", "mparams"): 33.34, ("dpn98", "mparams"): 58.47}


@pytest.mark.parametrize("name", MODELS)
def test_a_rows_parameters_and_macs_are_its_networks(name):
    model = MODELS[name]
    counted = count(model)
    assert (counted.params, counted.flops) == (model.params, model.flops) == (model.params, 2 * model.macs)


@pytest.mark.parametrize("name", MODELS)
def test_the_publishers_counter_gives_the_printed_flops(name):
    assert round(count(MODELS[name], "paddle2019").flops / 1e9, 2) == document().models[name].gflops


@pytest.mark.parametrize("name", MODELS)
def test_the_publishers_counter_gives_the_printed_parameters_but_for_two_slips(name):
    printed = document().models[name].mparams
    counted = round(count(MODELS[name], "paddle2019").params / 1e6, 2)
    if (name, "mparams") in SLIPS:
        assert counted == SLIPS[name, "mparams"] != printed
    else:
        assert counted == printed


def test_flops_grow_with_the_image():
    assert count(MODELS["densenet121"], size=448).flops > 3.9 * count(MODELS["densenet121"]).flops


def test_an_unknown_convention_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"no counting convention 'exakt'. Did you mean exact\? Known: exact, paddle2019"):
        count(MODELS["densenet121"], "exakt")
