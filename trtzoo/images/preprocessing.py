"""From a photograph to a network's input, pixel by pixel as the publisher of its weights does it.

opencv  PaddleClas, ppcls/data/preprocess/ops/operators.py: OpenCV decodes and applies the EXIF orientation; sides are
        rounded; the crop's corner is rounded down.
pil     torchvision's ImageFolder, Resize and CenterCrop, and timm alike: PIL smooths while it shrinks and ignores EXIF; the
        long side is truncated; the crop's corner is rounded, halves to even.
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
MAX_PIXELS = 178_956_970  # PIL's own limit against decompression bombs
MAX_BYTES = 1 << 30
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half of MAX_PIXELS on; the limit itself is an error
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # ImageError gives the reason
cv2.setNumThreads(1)  # there is one decoding process or thread per core


def read_crop(path: Path, preprocessing: Preprocessing, size: int) -> Array:
    """A photograph resized and cropped to (size, size, 3) uint8, RGB.

    If `size` is not the preprocessing's crop, the resized short side scales with it. Raises ImageError.
    """
    crop = preprocessing.crop
    short = preprocessing.resize if size == crop else round(preprocessing.resize * size / crop)
    try:
        length = path.stat().st_size
        if not length:
            raise OSError("it is empty")
        if length > MAX_BYTES:
            raise OSError(f"it has {length:,} bytes; the limit is {MAX_BYTES:,}")
        data = path.read_bytes()
        header = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(header.width * header.height)
        return _DECODERS[preprocessing.decoder](data, header, preprocessing.interpolation, short, size)
    except UnidentifiedImageError as error:
        raise ImageError(path, f"it is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"it has more than {MAX_PIXELS:,} pixels, the limit") from error
    except OSError as error:
        raise ImageError(path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(path, "it does not fit into memory") from error
    except Exception as error:  # a hostile file can make the decoders raise anything
        raise ImageError(path, f"{type(error).__name__}: {error}") from error


def normalise(crops: Array, preprocessing: Preprocessing) -> Array:
    """(N, S, S, 3) uint8 → (N, 3, S, S) float32: (value / 255 - mean) / std, rounded once."""
    grey = np.arange(256)[:, None] / 255
    table = ((grey - np.array(preprocessing.mean)) / np.array(preprocessing.std)).astype(np.float32)
    out = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    for crop, planes in zip(crops, out, strict=True):
        for channel in range(3):
            np.take(np.ascontiguousarray(table[:, channel]), crop[:, :, channel], out=planes[channel], mode="clip")
    return out


def _check_pixels(pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise OSError(f"it has {pixels:,} pixels; the limit is {MAX_PIXELS:,}")


def _check_chunks(data: bytes) -> None:
    """Raise OSError if a PNG's chunk claims more bytes than there are: OpenCV would allocate them."""
    start, kind = 8, b""
    while kind != b"IEND":
        header = data[start : start + 8]
        if len(header) < 8 or start + 12 + (length := int.from_bytes(header[:4], "big")) > len(data):
            raise OSError("it is truncated or damaged")
        start, kind = start + 12 + length, header[4:]


def _opencv(data: bytes, header: Image.Image, interpolation: str, short: int, size: int) -> Array:
    if header.format in ("JPEG", "MPO") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise OSError("it is truncated")  # some releases of OpenCV fill the rest with grey
    if header.format == "PNG":
        _check_chunks(data)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise OSError("it is truncated or damaged")
    pixels = np.asarray(decoded)[:, :, ::-1]
    height, width = pixels.shape[:2]
    scale = short / min(width, height)
    width, height = round(width * scale), round(height * scale)
    _check_pixels(width * height)
    method = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    resized = cv2.resize(pixels, (width, height), interpolation=method)
    left, top = (width - size) // 2, (height - size) // 2
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def _pil(data: bytes, header: Image.Image, interpolation: str, short: int, size: int) -> Array:
    if header.mode in ("I", "F") or header.mode.startswith("I;"):
        raise OSError("it has 16 or more bits per channel, which PIL does not convert to RGB")
    width, height = header.size
    least = min(width, height)
    width, height = (short if side == least else int(short * side / least) for side in (width, height))
    _check_pixels(width * height)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    resized = header.convert("RGB").resize((width, height), method)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.array(resized.crop((left, top, left + size, top + size)))


_DECODERS = {"opencv": _opencv, "pil": _pil}
