"""`--preprocessing`: how photographs are prepared for a network that no publisher of trtzoo's made, by name or by a file."""

from pathlib import Path

import msgspec

from trtzoo.core.decoding import UnreadableError, decode_toml, read_file
from trtzoo.core.errors import UsageError, unknown
from trtzoo.core.records import Preprocessing
from trtzoo.models.sources import FILE, PUBLISHERS, Checkpoint

DEFAULT = "imagenet"
MAX_BYTES = 1 << 16  # of a file

_IMAGENET = PUBLISHERS["torchvision"].preprocessing
NAMED = {
    "imagenet": _IMAGENET,
    "timm": msgspec.structs.replace(_IMAGENET, interpolation="bicubic"),  # most of timm's models; others have files
}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of `--preprocessing`; what it leaves out is ImageNet's. Docs explain the fields."""

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    decoder: str | None = None
    resize: int | None = None
    crop: int | None = None
    epsilon: float | None = None


def read_settings(path: Path) -> Settings:
    """A file's settings. Raises UsageError, with the place, if it is not one."""
    try:
        return msgspec.convert(decode_toml(read_file(path, MAX_BYTES)), Settings)
    except (UnreadableError, msgspec.ValidationError) as error:
        raise UsageError(f"{path} is no preprocessing: {error}.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error


def find_preprocessing(choice: str, height: int, width: int) -> Preprocessing:
    """The preprocessing called `choice`, or of that file, for images of this size; a named one keeps its share of the image.

    Raises UsageError if it is neither, or made for another size.
    """
    if choice in NAMED:
        return _sized(NAMED[choice], Settings(), height, width)
    if Path(choice).suffix != ".toml":
        raise unknown("preprocessing", choice, [*NAMED, "FILE.toml"])
    settings = read_settings(Path(choice))
    if settings.crop not in (None, height):
        raise UsageError(f"{choice} crops to {settings.crop} pixels, and the network's images are {height}x{width}.")
    return override(_IMAGENET, settings, height, width, name=choice)


def override(base: Preprocessing, settings: Settings, height: int, width: int, *, name: str) -> Preprocessing:
    """The base with the file's settings. Raises UsageError for values that cannot be."""
    try:
        return _sized(base, settings, height, width)
    except ValueError as error:
        raise UsageError(f"{name} is no preprocessing: {error}.") from error


def _sized(base: Preprocessing, settings: Settings, height: int, width: int) -> Preprocessing:
    crop = min(height, width)
    fields = {name: getattr(settings, name) for name in ("mean", "std", "interpolation", "decoder")}
    given = {name: value for name, value in fields.items() if value is not None}
    resize = settings.resize or round(base.resize * crop / base.crop)
    values = {**msgspec.structs.asdict(base), **given, "resize": resize, "crop": crop}
    return msgspec.convert(values, Preprocessing)


def preprocessing_title(how: Preprocessing) -> str:
    """The preprocessing in words: its name, or its numbers."""
    for name, row in NAMED.items():
        if _sized(row, Settings(), how.crop, how.crop) == how:
            return name
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (how.mean, how.std))
    return f"mean {mean}, std {std}, {how.interpolation}, {how.resize}/{how.crop}, {how.decoder}"


def with_preprocessing(checkpoint: Checkpoint, choice: str | None, size: int) -> Checkpoint:
    """The user's own checkpoint with this preprocessing, and the file's BN epsilon, instead of those of its format's publisher.

    Raises UsageError for published or seeded weights, which have their own.
    """
    if choice is None:
        return checkpoint
    if checkpoint.source != FILE:
        raise UsageError(f"--preprocessing is for your own weights and files; weights of {checkpoint.source} have their own.")
    epsilon = None if choice in NAMED else read_settings(Path(choice)).epsilon if Path(choice).is_file() else None
    how = find_preprocessing(choice, size, size)
    if epsilon is not None and not 0 <= epsilon < 1:
        raise UsageError(f"{choice} is no preprocessing: epsilon is {epsilon}: that cannot be.")
    return msgspec.structs.replace(checkpoint, own=how, own_epsilon=epsilon)
