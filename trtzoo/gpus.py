"""GPUS and FLAVOURS, one row each: which GPU is which, and which TensorRT builds for it."""

from __future__ import annotations

import re

from trtzoo.errors import MachineError, unknown
from trtzoo.spec import Flavour, Gpu

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
_T, _G = 1e12, 1e9

# Peaks: FP32 outside tensor cores; FP16 on tensor cores, dense, with FP16 accumulation where that is the faster. Sources:
# NVIDIA's data sheets of the V100 (SXM2), T4, A10, A30, A100 (40 GB), L4, L40S, H100 and H200 (SXM), HGX B200 (an eighth);
# white papers of GA102 (RTX 30), Ada (RTX 40) and Blackwell (RTX 50). Where "sparse" figures are printed, half of them.
# TensorRT: its release notes (10.5 drops Volta; 10.8 brings Blackwell) and support matrices. TensorRT-RTX: the members of
# its ComputeCapability, tried one by one; its support matrix does not list SM80, though the builder takes it.
GPUS: dict[str, Gpu] = {
    row.name: row
    for row in (
        Gpu(
            "v100",
            "Tesla V100",
            70,
            (
                "Tesla V100-SXM2-16GB",
                "Tesla V100-SXM2-32GB",
                "Tesla V100-SXM3-32GB",
                "Tesla V100-PCIE-16GB",
                "Tesla V100-PCIE-32GB",
                "Tesla V100S-PCIE-32GB",
            ),
            15.7 * _T,
            125 * _T,
            900 * _G,
            newest="10.4",
            not_rtx=_VOLTA,
        ),
        Gpu("t4", "Tesla T4", 75, ("Tesla T4", "NVIDIA T4"), 8.1 * _T, 65 * _T, 320 * _G),
        Gpu("a10", "A10", 86, ("NVIDIA A10",), 31.2 * _T, 125 * _T, 600 * _G),
        Gpu("a30", "A30", 80, ("NVIDIA A30",), 10.3 * _T, 165 * _T, 933 * _G),
        Gpu(
            "a100",
            "A100",
            80,
            (
                "NVIDIA A100-SXM4-40GB",
                "A100-SXM4-40GB",
                "NVIDIA A100-PCIE-40GB",
                "NVIDIA A100-SXM4-80GB",
                "NVIDIA A100 80GB PCIe",
            ),
            19.5 * _T,
            312 * _T,
            1555 * _G,
        ),
        Gpu("l4", "L4", 89, ("NVIDIA L4",), 30.3 * _T, 121 * _T, 300 * _G),
        Gpu("l40s", "L40S", 89, ("NVIDIA L40S",), 91.6 * _T, 362 * _T, 864 * _G),
        Gpu(
            "h100",
            "H100",
            90,
            ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"),
            67 * _T,
            989 * _T,
            3350 * _G,
            not_rtx=_HOPPER,
        ),
        Gpu("h200", "H200", 90, ("NVIDIA H200", "NVIDIA H200 NVL"), 67 * _T, 989 * _T, 4800 * _G, not_rtx=_HOPPER),
        Gpu("b200", "B200", 100, ("NVIDIA B200",), 75 * _T, 2250 * _T, 8000 * _G, oldest="10.8", not_rtx=_BLACKWELL),
        Gpu("rtx3080", "RTX 3080", 86, ("NVIDIA GeForce RTX 3080",), 29.8 * _T, 119 * _T, 760 * _G),
        Gpu("rtx3090", "RTX 3090", 86, ("NVIDIA GeForce RTX 3090",), 35.6 * _T, 142 * _T, 936 * _G),
        Gpu("rtx4080", "RTX 4080", 89, ("NVIDIA GeForce RTX 4080",), 48.7 * _T, 194.9 * _T, 716.8 * _G),
        Gpu("rtx4090", "RTX 4090", 89, ("NVIDIA GeForce RTX 4090",), 82.6 * _T, 330.3 * _T, 1008 * _G),
        Gpu("rtx5080", "RTX 5080", 120, ("NVIDIA GeForce RTX 5080",), 56.3 * _T, 225.1 * _T, 960 * _G, oldest="10.8"),
        Gpu("rtx5090", "RTX 5090", 120, ("NVIDIA GeForce RTX 5090",), 104.8 * _T, 419 * _T, 1792 * _G, oldest="10.8"),
    )
}


def find(name: str) -> Gpu:
    """The row called `name`, however it is written: "T4", "RTX 4090". Raises UsageError with the nearest name."""
    if row := GPUS.get(re.sub(r"[\s_-]", "", name.lower())):
        return row
    raise unknown("GPU", name, GPUS)


def flavour(name: str) -> Flavour:
    """The row called `name`. Raises UsageError with the nearest name."""
    if row := FLAVOURS.get(name.lower()):
        return row
    raise unknown("flavour", name, FLAVOURS)


def identify(name: str, sm: int) -> Gpu:
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
        (name,),
        0,
        0,
        0,
        newest="10.4" if sm < 75 else "",
        not_rtx=f"TensorRT-RTX has no SM{sm}" if blocked else "",
    )


def check(gpu: Gpu, flavour: Flavour, version: str) -> None:
    """Raises MachineError where this flavour, in this version, cannot build for `gpu`; it says what to install."""
    if flavour.name == "rtx":
        if gpu.not_rtx:
            raise MachineError(
                f"TensorRT-RTX {version} cannot build for {gpu.title} (SM{gpu.sm}): {gpu.not_rtx}. "
                f"TensorRT can, on a machine with that GPU: pip install '{requirement(gpu)}'"
            )
        return
    here = numbers(version)
    if gpu.newest and here[:2] > numbers(gpu.newest):
        problem = f"{gpu.newest} was the last that does"
    elif here[:2] < numbers(gpu.oldest):
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


def numbers(version: str) -> tuple[int, ...]:
    """A version's leading numbers: "10.13.2.6.post1" is (10, 13, 2, 6)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def table() -> list[tuple[str, str, str, str]]:
    """The README's rows: GPU, SM, TensorRT versions, TensorRT-RTX."""
    rows = []
    for gpu in GPUS.values():
        versions = f"{gpu.oldest} to {gpu.newest}" if gpu.newest else f"{gpu.oldest} to 11"
        rows.append((gpu.title, f"SM{gpu.sm}", versions, f"no: {gpu.not_rtx}" if gpu.not_rtx else "yes, from any machine"))
    return rows
