"""Which GPU is which, and which TensorRT builds for it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.core.errors import MachineError, UsageError
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import (
    FLAVOURS,
    GPUS,
    card_title,
    check_target,
    find_card,
    find_flavour,
    find_gpu,
    identify_gpu,
    version_numbers,
)

TENSORRT, RTX = FLAVOURS["tensorrt"], FLAVOURS["rtx"]


@pytest.mark.parametrize("row", GPUS.values(), ids=str)
def test_a_row_is_found_by_its_name_and_by_its_driver_s(row):
    assert find_gpu(row.name.upper()) is row
    for name in row.names:
        assert identify_gpu(name, row.sm) is row


CARDS = [card for row in GPUS.values() for card in row.cards if card.fp32]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_s_peaks_are_of_a_real_gpu_and_have_a_source(card):
    assert 5e12 < card.fp32 < (card.fp16 or 3e15) <= 3e15
    assert 2e11 < card.bandwidth < 1e13
    assert "NVIDIA" in card.source


@pytest.mark.parametrize("row", GPUS.values(), ids=str)
def test_tf32_is_from_ampere_on_and_half_or_a_quarter_of_fp16(row):
    for card in row.cards:
        assert not card.tf32 or row.sm >= 80
        assert not card.tf32 or card.fp16 / card.tf32 == pytest.approx(4 if "GeForce" in card.name else 2, rel=0.02)


def test_cards_of_one_name_are_told_apart():
    assert find_card("NVIDIA A100-SXM4-80GB").bandwidth > find_card("NVIDIA A100-SXM4-40GB").bandwidth
    assert find_card("NVIDIA GeForce GTX 970") is None


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        (15_843_721_216, 16),
        (23_609_475_072, 24),
        (24_146_608_128, 24),
        (42_314_694_656, 40),
        (42_505_273_344, 40),
        (85_175_042_048, 80),
        (10_367_664_128, 10),
        (12_582_912_000, 12),
        (400 << 30, 400),
    ],
)
def test_a_card_s_memory_is_the_size_that_is_sold_whatever_ecc_and_the_driver_take_of_it(memory, size):
    assert card_title("NVIDIA X", memory) == f"NVIDIA X, {size} GB"


@pytest.mark.parametrize(
    ("name", "sm", "row"),
    [
        ("NVIDIA A10G", 86, "a10g"),
        ("NVIDIA L40", 89, "l40"),
        ("NVIDIA T4G", 75, "t4g"),
        ("NVIDIA RTX A4000", 86, "rtxa4000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 120, "rtxpro6000"),
        ("Orin", 87, "orin"),
        ("NVIDIA Thor", 110, "thor"),
    ],
)
def test_a_driver_s_name_finds_its_row(name, sm, row):
    assert identify_gpu(name, sm) is GPUS[row]
    assert GPUS[row].sm == sm


def test_a_jetson_is_refused_with_the_reason():
    with pytest.raises(MachineError) as error:
        check_target(GPUS["orin"], TENSORRT, "10.3.0")
    assert str(error.value) == (
        "Jetson Orin (SM87) is not supported: its TensorRT is part of JetPack, which trtzoo neither installs nor tests."
    )


def test_no_two_rows_share_a_driver_s_name():
    names = [name for row in GPUS.values() for name in row.names]
    assert len(names) == len(set(names))


def test_tensorrt_rtx_targets_exactly_the_rows_that_say_so():
    members = probes.run_probes("tensorrt_rtx")["tensorrt_rtx"].features
    for row in GPUS.values():
        assert (f"SM{row.sm}" in members) == (not row.not_rtx), row


@pytest.mark.parametrize(
    ("text", "name"), [("RTX 4090", "rtx4090"), ("rtx-4090", "rtx4090"), ("L40s", "l40s"), ("Rtx_5090", "rtx5090")]
)
def test_a_name_is_read_however_it_is_written(text, name):
    assert find_gpu(text).name == name


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match=re.escape("There is no GPU 'rtx409'. Did you mean rtx4090? Known: v100, t4,")):
        find_gpu("rtx409")
    with pytest.raises(UsageError, match=re.escape("There is no flavour 'rxt'. Did you mean rtx? Known: tensorrt, rtx.")):
        find_flavour("rxt")


def test_a_gpu_without_a_row_gets_one_of_its_own():
    row = identify_gpu("NVIDIA GeForce RTX 4070 Ti", 89)
    assert (row.name, row.sm, row.not_rtx) == ("rtx4070ti", 89, "")
    assert identify_gpu("NVIDIA TITAN V", 70).not_rtx == "TensorRT-RTX has no SM70"


@pytest.mark.parametrize(
    ("gpu", "flavour", "version", "sentence"),
    [
        (
            "v100",
            TENSORRT,
            "11.4.0.106",
            "TensorRT 11.4.0.106 does not build for Tesla V100 (SM70): 10.4 was the last that does. "
            "Run: pip install 'tensorrt-cu12==10.4.*'",
        ),
        (
            "rtx5090",
            TENSORRT,
            "10.7.0",
            "TensorRT 10.7.0 does not build for RTX 5090 (SM120): 10.8 is the first that does. "
            "Run: pip install 'tensorrt-cu12>=10.8'",
        ),
        (
            "v100",
            RTX,
            "1.7.1.116",
            "TensorRT-RTX 1.7.1.116 cannot build for Tesla V100 (SM70): TensorRT-RTX starts at Turing (SM75). "
            "TensorRT can, on a machine with that GPU: pip install 'tensorrt-cu12==10.4.*'",
        ),
        (
            "h100",
            RTX,
            "1.7.1.116",
            "TensorRT-RTX 1.7.1.116 cannot build for H100 (SM90): TensorRT-RTX has no data-centre Hopper (SM90). "
            "TensorRT can, on a machine with that GPU: pip install 'tensorrt-cu12'",
        ),
    ],
)
def test_a_wrong_version_says_what_to_install(gpu, flavour, version, sentence):
    with pytest.raises(MachineError) as error:
        check_target(GPUS[gpu], flavour, version)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("gpu", "flavour", "version"),
    [("v100", TENSORRT, "8.6.1"), ("v100", TENSORRT, "10.4.0"), ("t4", TENSORRT, "11.4.0.106"), ("t4", RTX, "1.7.1.116")],
)
def test_a_right_version_passes(gpu, flavour, version):
    check_target(GPUS[gpu], flavour, version)


@given(st.text())
def test_any_text_has_numbers_in_it_or_none(text):
    assert all(number >= 0 for number in version_numbers(text))


@given(st.text(), st.integers(30, 130))
def test_any_driver_s_name_makes_a_name_fit_for_a_folder(name, sm):
    assert re.fullmatch(r"[a-z0-9]*", identify_gpu(name, sm).name)
