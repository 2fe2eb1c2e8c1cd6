"""Counts: every row's numbers are its network's, and the publisher's convention gives the published columns."""

import pytest

from trtzoo.core.errors import UsageError
from trtzoo.models.count import count
from trtzoo.models.table import MODELS
from trtzoo.report.published import document

MISPRINTS = {("densenet264", "mparams"): 33.34, ("dpn98", "mparams"): 58.47}


@pytest.mark.parametrize("name", MODELS)
def test_a_rows_parameters_and_macs_are_its_networks(name):
    model = MODELS[name]
    counted = count(model)
    assert (counted.params, counted.flops) == (model.params, model.flops) == (model.params, 2 * model.macs)


@pytest.mark.parametrize("name", MODELS)
def test_the_publishers_convention_gives_the_published_flops(name):
    assert round(count(MODELS[name], "paddle2019").flops / 1e9, 2) == document().models[name].gflops


@pytest.mark.parametrize("name", MODELS)
def test_the_publishers_convention_gives_the_published_parameters_except_two_misprints(name):
    published = document().models[name].mparams
    counted = round(count(MODELS[name], "paddle2019").params / 1e6, 2)
    if (name, "mparams") in MISPRINTS:
        assert counted == MISPRINTS[name, "mparams"] != published
    else:
        assert counted == published


def test_flops_grow_with_the_image():
    assert count(MODELS["densenet121"], size=448).flops > 3.9 * count(MODELS["densenet121"]).flops


def test_an_unknown_convention_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"no counting convention 'exakt'. Did you mean exact\? Known: exact, paddle2019"):
        count(MODELS["densenet121"], "exakt")
