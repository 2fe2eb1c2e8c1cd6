"""GPUs as data (gpus.toml), the devices of this machine, and probes and monitors that run in child processes."""

from trtzoo.hardware.gpus import FLAVOURS, GPUS, Flavour, Gpu, find_gpu, identify_gpu

__all__ = ["FLAVOURS", "GPUS", "Flavour", "Gpu", "find_gpu", "identify_gpu"]
