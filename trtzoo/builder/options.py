"""OPTIONS: settings of TensorRT's builder that make another engine of the same graph. trtexec has each under a longer name."""

from collections.abc import Mapping

import msgspec

from trtzoo.artifacts.engines import switch
from trtzoo.core.errors import UsageError
from trtzoo.hardware.gpus import Flavour


class BuilderOption(msgspec.Struct, frozen=True, kw_only=True):
    """A field of IBuilderConfig, with its allowed values and trtexec's option. `enum` is the type of its values, else int.

    `ahead_of_time` says whether TensorRT-RTX uses it. It takes all of them, but it times no kernels.
    """

    attribute: str
    trtexec: str
    smallest: int
    largest: int = 1000
    enum: str = ""
    ahead_of_time: bool = False


OPTIONS = {
    "opt_level": BuilderOption(
        attribute="builder_optimization_level", trtexec="--builderOptimizationLevel", smallest=0, largest=5
    ),
    "timing_iterations": BuilderOption(attribute="avg_timing_iterations", trtexec="--avgTiming", smallest=1),
    "aux_streams": BuilderOption(attribute="max_aux_streams", trtexec="--maxAuxStreams", smallest=0, ahead_of_time=True),
    "tiling": BuilderOption(
        attribute="tiling_optimization_level",
        trtexec="--tilingOptimizationLevel",
        smallest=0,
        largest=3,
        enum="TilingOptimizationLevel",
    ),
}


def check_options(options: Mapping[str, int], flavour: Flavour) -> None:
    """Raise UsageError for a value out of range, and for an option that this flavour ignores."""
    for name, value in options.items():
        row = OPTIONS[name]
        if not row.smallest <= value <= row.largest:
            raise UsageError(f"{switch(name)} {value}: choose a whole number from {row.smallest} to {row.largest}.")
        if flavour.name == "rtx" and not row.ahead_of_time:
            raise UsageError(f"{flavour.title} ignores {switch(name)}: it times no kernels when it builds. Leave it out.")
