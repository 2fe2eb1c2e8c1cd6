"""GPUS and FLAVOURS, one row each: which GPU is which, and which TensorRT builds for it."""

import re

import msgspec

from trtzoo.core.errors import MachineError, unknown


class Flavour(msgspec.Struct, frozen=True):
    """A TensorRT. `install` is the pip requirement that brings `module`."""

    name: str
    title: str
    module: str
    install: str


class Card(msgspec.Struct, frozen=True):
    """A GPU as its driver names it, and its peaks by the maker's document `source`; 0 where it has none or tells none.

    `fp32` outside tensor cores, `tf32` and `fp16` on them, dense, FLOP/s; `bandwidth` of its memory, bytes/s.
    """

    name: str
    fp32: float = 0.0
    tf32: float = 0.0
    fp16: float = 0.0
    bandwidth: float = 0.0
    source: str = ""


class Gpu(msgspec.Struct, frozen=True):
    """A target, and the cards sold under its name.

    `oldest` and `newest` bound the TensorRT versions that build for it (`newest` empty: still supported); `not_rtx` says why
    TensorRT-RTX cannot (empty: it can).
    """

    name: str
    title: str
    sm: int
    cards: tuple[Card, ...]
    oldest: str = "8.6"
    newest: str = ""
    not_rtx: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What drivers call it."""
        return tuple(card.name for card in self.cards)


FLAVOURS: dict[str, Flavour] = {
    row.name: row
    for row in (
        Flavour("tensorrt", "TensorRT", module="tensorrt", install="tensorrt-cu12"),
        Flavour("rtx", "TensorRT-RTX", module="tensorrt_rtx", install="tensorrt-rtx-cu12"),
    )
}

_VOLTA = "TensorRT-RTX starts at Turing (SM75)"
_HOPPER = "TensorRT-RTX has no data-centre Hopper (SM90)"
_BLACKWELL = "TensorRT-RTX has no data-centre Blackwell (SM100), only SM120 and SM121"


def _cards(source: str, *rows: tuple[str, float, float, float, float]) -> tuple[Card, ...]:
    """Driver's name; FP32, TF32 and FP16 in TFLOP/s; GB/s."""
    return tuple(Card(name, fp32 * 1e12, tf32 * 1e12, fp16 * 1e12, gbs * 1e9, source) for name, fp32, tf32, fp16, gbs in rows)


# Peaks are dense: half of what the maker prints "with sparsity"; GeForce: FP16 with FP16 accumulation, its fastest.
# TensorRT: its release notes (10.5 drops Volta; 10.8 brings Blackwell) and support matrices. TensorRT-RTX: the members
# of its ComputeCapability, tried one by one; its support matrix does not list SM80, though the builder takes it.
GPUS: dict[str, Gpu] = {
    row.name: row
    for row in (
        Gpu(
            "v100",
            "Tesla V100",
            70,
            _cards(
                "NVIDIA V100 data sheet",
                ("Tesla V100-SXM2-16GB", 15.7, 0, 125, 900),
                ("Tesla V100-SXM2-32GB", 15.7, 0, 125, 900),
                ("Tesla V100-SXM3-32GB", 0, 0, 0, 0),
                ("Tesla V100-PCIE-16GB", 14, 0, 112, 900),
                ("Tesla V100-PCIE-32GB", 14, 0, 112, 900),
                ("Tesla V100S-PCIE-32GB", 16.4, 0, 130, 1134),
            ),
            newest="10.4",
            not_rtx=_VOLTA,
        ),
        Gpu(
            "t4",
            "Tesla T4",
            75,
            _cards(
                "NVIDIA T4 data sheet",
                ("Tesla T4", 8.1, 0, 65, 320),
                ("NVIDIA T4", 8.1, 0, 65, 320),
            ),
        ),
        Gpu("a10", "A10", 86, _cards("NVIDIA A10 data sheet", ("NVIDIA A10", 31.2, 62.5, 125, 600))),
        Gpu("a30", "A30", 80, _cards("NVIDIA A30 data sheet", ("NVIDIA A30", 10.3, 82, 165, 933))),
        Gpu(
            "a100",
            "A100",
            80,
            _cards(
                "NVIDIA A100 data sheet; of 40 GB: A100 architecture white paper",
                ("NVIDIA A100-SXM4-40GB", 19.5, 156, 312, 1555),
                ("A100-SXM4-40GB", 19.5, 156, 312, 1555),
                ("NVIDIA A100-PCIE-40GB", 19.5, 156, 312, 1555),
                ("NVIDIA A100-SXM4-80GB", 19.5, 156, 312, 2039),
                ("NVIDIA A100 80GB PCIe", 19.5, 156, 312, 1935),
            ),
        ),
        Gpu("l4", "L4", 89, _cards("NVIDIA L4 data sheet", ("NVIDIA L4", 30.3, 60, 121, 300))),
        Gpu("l40s", "L40S", 89, _cards("NVIDIA L40S data sheet", ("NVIDIA L40S", 91.6, 183, 362.05, 864))),
        Gpu(
            "h100",
            "H100",
            90,
            _cards(
                "NVIDIA H100 data sheet",
                ("NVIDIA H100 80GB HBM3", 67, 494.5, 989.5, 3350),
                ("NVIDIA H100 PCIe", 51, 378, 756.5, 2000),
                ("NVIDIA H100 NVL", 60, 417.5, 835.5, 3900),
            ),
            not_rtx=_HOPPER,
        ),
        Gpu(
            "h200",
            "H200",
            90,
            _cards(
                "NVIDIA H200 data sheet",
                ("NVIDIA H200", 67, 494.5, 989.5, 4800),
                ("NVIDIA H200 NVL", 60, 417.5, 835.5, 4800),
            ),
            not_rtx=_HOPPER,
        ),
        Gpu(
            "b200",
            "B200",
            100,
            _cards("NVIDIA HGX B200 data sheet, an eighth", ("NVIDIA B200", 75, 1125, 2250, 8000)),
            oldest="10.8",
            not_rtx=_BLACKWELL,
        ),
        Gpu(
            "rtx3080",
            "RTX 3080",
            86,
            _cards("NVIDIA GA102 architecture white paper", ("NVIDIA GeForce RTX 3080", 29.8, 29.8, 119, 760)),
        ),
        Gpu(
            "rtx3090",
            "RTX 3090",
            86,
            _cards("NVIDIA GA102 architecture white paper", ("NVIDIA GeForce RTX 3090", 35.6, 35.6, 142, 936)),
        ),
        Gpu(
            "rtx4080",
            "RTX 4080",
            89,
            _cards("NVIDIA Ada architecture white paper", ("NVIDIA GeForce RTX 4080", 48.7, 48.7, 194.9, 716.8)),
        ),
        Gpu(
            "rtx4090",
            "RTX 4090",
            89,
            _cards("NVIDIA Ada architecture white paper", ("NVIDIA GeForce RTX 4090", 82.6, 82.6, 330.3, 1008)),
        ),
        Gpu(
            "rtx5080",
            "RTX 5080",
            120,
            _cards("NVIDIA RTX Blackwell architecture white paper", ("NVIDIA GeForce RTX 5080", 56.3, 56.3, 225.1, 960)),
            oldest="10.8",
        ),
        Gpu(
            "rtx5090",
            "RTX 5090",
            120,
            _cards("NVIDIA RTX Blackwell architecture white paper", ("NVIDIA GeForce RTX 5090", 104.8, 104.8, 419, 1792)),
            oldest="10.8",
        ),
    )
}


def find_card(name: str) -> Card | None:
    """The card that its driver calls `name`; None for one without a row."""
    return next((card for row in GPUS.values() for card in row.cards if card.name == name), None)


def find_gpu(name: str) -> Gpu:
    """The row called `name`, however it is written: "T4", "RTX 4090". Raises UsageError with the nearest name."""
    if row := GPUS.get(re.sub(r"[\s_-]", "", name.lower())):
        return row
    raise unknown("GPU", name, GPUS)


def find_flavour(name: str) -> Flavour:
    """The row called `name`. Raises UsageError with the nearest name."""
    if row := FLAVOURS.get(name.lower()):
        return row
    raise unknown("flavour", name, FLAVOURS)


def identify_gpu(name: str, sm: int) -> Gpu:
    """The row of a GPU that its driver calls `name`; one of its own, without peaks, for a GPU that has none."""
    for row in GPUS.values():
        if name in row.names:
            return row
    key = re.sub(r"[^a-z0-9]+", "", re.sub(r"nvidia|geforce|tesla", "", name.lower()))
    blocked = sm < 75 or 90 <= sm < 120
    return Gpu(
        key,
        name,
        sm,
        (Card(name),),
        newest="10.4" if sm < 75 else "",
        not_rtx=f"TensorRT-RTX has no SM{sm}" if blocked else "",
    )


def check_target(gpu: Gpu, flavour: Flavour, version: str) -> None:
    """Raises MachineError where this flavour, in this version, cannot build for `gpu`; it says what to install."""
    if flavour.name == "rtx":
        if gpu.not_rtx:
            raise MachineError(
                f"TensorRT-RTX {version} cannot build for {gpu.title} (SM{gpu.sm}): {gpu.not_rtx}. "
                f"TensorRT can, on a machine with that GPU: pip install '{requirement(gpu)}'"
            )
        return
    here = version_numbers(version)
    if gpu.newest and here[:2] > version_numbers(gpu.newest):
        problem = f"{gpu.newest} was the last that does"
    elif here[:2] < version_numbers(gpu.oldest):
        problem = f"{gpu.oldest} is the first that does"
    else:
        return
    raise MachineError(
        f"TensorRT {version} does not build for {gpu.title} (SM{gpu.sm}): {problem}. Run: pip install '{requirement(gpu)}'"
    )


def requirement(gpu: Gpu) -> str:
    """The pip requirement of a TensorRT that builds for `gpu`: "tensorrt-cu12==10.4.*"."""
    install = FLAVOURS["tensorrt"].install
    if gpu.newest:
        return f"{install}=={gpu.newest}.*"
    return install if gpu.oldest == "8.6" else f"{install}>={gpu.oldest}"


def version_numbers(version: str) -> tuple[int, ...]:
    """A version's leading numbers: "10.13.2.6.post1" is (10, 13, 2, 6)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def support_table() -> list[tuple[str, str, str, str]]:
    """The README's rows: GPU, SM, TensorRT versions, TensorRT-RTX."""
    rows = []
    for gpu in GPUS.values():
        versions = f"{gpu.oldest} to {gpu.newest}" if gpu.newest else f"{gpu.oldest} to 11"
        rows.append((gpu.title, f"SM{gpu.sm}", versions, f"no: {gpu.not_rtx}" if gpu.not_rtx else "yes, from any machine"))
    return rows
