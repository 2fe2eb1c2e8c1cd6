"""From a photograph to a network's input, as the publisher of its weights does it, pixel by pixel.

opencv  PaddleClas: ppcls/data/preprocess/ops/operators.py. Decoded by OpenCV, which turns a photograph as its EXIF says; sides
        rounded; the crop's corner rounded down.
pil     torchvision's ImageFolder, Resize and CenterCrop, and timm's the same. PIL smooths while it shrinks and leaves EXIF
        alone; the long side is cut to a whole number; the crop's corner is rounded, halves to even.
"""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL import __version__ as pillow

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ImageError
from trtzoo.core.records import Preprocessing

VERSIONS = {"opencv": cv2.__version__, "pillow": pillow}
PIXELS = 178_956_970
"""More than these are not decoded: PIL's own limit against decompression bombs."""
BYTES = 1 << 30
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half of PIXELS on; the limit itself is an error
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong with a file is told by ImageError


def image(path: Path, how: Preprocessing, size: int) -> Array:
    """A photograph as (3, size, size) float32. Raises ImageError."""
    (planes,) = normalise(crop(path, how, size)[None], how)
    return np.asarray(planes)


def crop(path: Path, how: Preprocessing, size: int) -> Array:
    """A photograph resized and cut to (size, size, 3) uint8, RGB.

    Where `size` is not the crop of `how`, its short side keeps its proportion to it. Raises ImageError.
    """
    short = how.resize if size == how.crop else round(how.resize * size / how.crop)
    try:
        data = _read(path)
        header = Image.open(io.BytesIO(data), formats=FORMATS)
        _check(header.width * header.height)
        return _DECODERS[how.decoder](data, header, how.interpolation, short, size)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(path, f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"it has more pixels than the {PIXELS:,} that are decoded at most") from error
    except OSError as error:
        raise ImageError(path, error.strerror or str(error)) from error
    except Exception as error:  # a hostile file can make the decoders raise anything
        raise ImageError(path, f"{type(error).__name__}: {error}") from error


def normalise(crops: Array, how: Preprocessing) -> Array:
    """(N, S, S, 3) uint8 → (N, 3, S, S) float32: (value / 255 - mean) / std, rounded once."""
    grey = np.arange(256)[:, None] / 255
    table = ((grey - np.array(how.mean)) / np.array(how.std)).astype(np.float32)
    out = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    for photograph, planes in zip(crops, out, strict=True):
        for colour in range(3):
            np.take(np.ascontiguousarray(table[:, colour]), photograph[:, :, colour], out=planes[colour], mode="clip")
    return out


def one_thread() -> None:
    """OpenCV takes no threads of its own: the processes that decode are as many as there are cores."""
    cv2.setNumThreads(1)


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if not size:
        raise ImageError(path, "it is empty")
    if size > BYTES:
        raise ImageError(path, f"it has {size:,} bytes, and {BYTES:,} are read at most")
    return path.read_bytes()


def _check(pixels: int) -> None:
    if pixels > PIXELS:
        raise OSError(f"it has {pixels:,} pixels, and {PIXELS:,} are decoded at most")


def _opencv(data: bytes, header: Image.Image, interpolation: str, short: int, size: int) -> Array:
    if header.format in ("JPEG", "MPO") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise OSError("it is truncated")  # some releases of OpenCV fill up with grey
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise OSError("it is truncated or damaged")
    pixels = np.asarray(decoded)[:, :, ::-1]
    height, width = pixels.shape[:2]
    scale = short / min(width, height)
    width, height = round(width * scale), round(height * scale)
    _check(width * height)
    how = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    resized = cv2.resize(pixels, (width, height), interpolation=how)
    left, top = (width - size) // 2, (height - size) // 2
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def _pil(data: bytes, header: Image.Image, interpolation: str, short: int, size: int) -> Array:
    if header.mode in ("I", "F") or header.mode.startswith("I;"):
        raise OSError("it has 16 bits a pixel or more, which PIL does not make into RGB")
    width, height = header.size
    least = min(width, height)
    width, height = (short if side == least else int(short * side / least) for side in (width, height))
    _check(width * height)
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    resized = header.convert("RGB").resize((width, height), how)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.array(resized.crop((left, top, left + size, top + size)))


_DECODERS = {"opencv": _opencv, "pil": _pil}
