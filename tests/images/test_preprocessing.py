"""Preprocessing against the formulas, pixel by pixel. Both libraries compute in integers, so by one grey level."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.photographs import PHOTOGRAPHS, noise, read_image
from trtzoo.core.errors import ImageError
from trtzoo.core.records import Preprocessing
from trtzoo.images import preprocessing
from trtzoo.models.sources import PUBLISHERS

PADDLE, TORCHVISION, TIMM = (PUBLISHERS[name].preprocessing for name in ("paddle", "torchvision", "timm"))
WHOLE = Preprocessing(decoder="pil", interpolation="bilinear", resize=32, crop=32, mean=(0, 0, 0), std=(1, 1, 1))


def half_pixel(pixels, length, axis):
    """Bilinear between pixel centres, without smoothing, as OpenCV's INTER_LINEAR."""
    known = pixels.shape[axis]
    at = np.clip((np.arange(length) + 0.5) * known / length - 0.5, 0, known - 1)
    low = np.minimum(at.astype(int), known - 2)
    share = (at - low).reshape([-1 if k == axis else 1 for k in range(3)])
    return np.take(pixels, low, axis) * (1 - share) + np.take(pixels, low + 1, axis) * share


def smoothed(pixels, length, axis, kernel, support):
    """One of the two passes of PIL's resize: a kernel stretched over the pixels that become one, rounded to integers."""
    known = pixels.shape[axis]
    scale = max(known / length, 1.0)
    centres = (np.arange(length) + 0.5) * known / length
    distance = (np.arange(known) + 0.5 - centres[:, None]) / scale
    weights = np.where(np.abs(distance) <= support, kernel(distance), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(np.floor(np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis) + 0.5), 0, 255)


def triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def keys(x, a=-0.5):
    """Keys' cubic convolution (IEEE ASSP 29, 1981)."""
    x = np.abs(x)
    return np.where(x < 1, (a + 2) * x**3 - (a + 3) * x**2 + 1, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0))


def centre(pixels, left, top, size):
    return pixels[top : top + size, left : left + size]


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_opencv_is_bilinear_between_pixel_centres(path):
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float64)
    height, width = pixels.shape[:2]
    scale = 256 / min(height, width)
    expected = half_pixel(half_pixel(pixels, round(height * scale), 0), round(width * scale), 1)
    left, top = (expected.shape[1] - 224) // 2, (expected.shape[0] - 224) // 2
    got = preprocessing.read_crop(path, PADDLE, 224)
    assert got.shape == (224, 224, 3) and got.dtype == np.uint8
    assert np.abs(got - centre(expected, left, top, 224)).max() <= 1


@pytest.mark.parametrize(
    ("how", "kernel", "support"), [(TORCHVISION, triangle, 1), (TIMM, keys, 2)], ids=["bilinear", "bicubic"]
)
@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_pil_smooths_with_the_stretched_kernel(path, how, kernel, support):
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float64)
    height, width = pixels.shape[:2]
    least = min(height, width)
    sides = [256 if side == least else int(256 * side / least) for side in (height, width)]
    expected = smoothed(smoothed(pixels, sides[1], 1, kernel, support), sides[0], 0, kernel, support)
    left, top = round((sides[1] - 224) / 2), round((sides[0] - 224) / 2)
    assert np.abs(preprocessing.read_crop(path, how, 224) - centre(expected, left, top, 224)).max() <= 1


@pytest.mark.parametrize("how", [PADDLE, TORCHVISION, TIMM], ids=["paddle", "torchvision", "timm"])
def test_a_photograph_becomes_normalised_planes(how):
    path = PHOTOGRAPHS[1]
    got = read_image(path, how, 224)
    crop = preprocessing.read_crop(path, how, 224)
    expected = ((crop / 255 - np.array(how.mean)) / np.array(how.std)).transpose(2, 0, 1)
    assert got.shape == (3, 224, 224) and got.dtype == np.float32
    np.testing.assert_array_equal(got, expected.astype(np.float32))


def test_mean_and_std_of_timm_are_those_of_its_model_card():
    grey = np.full((1, 1, 1, 3), 124, np.uint8)
    first, second, third = preprocessing.normalise(grey, TIMM).ravel()
    np.testing.assert_allclose([first, second, third], [0, 7 * 0.0167, 20 * 0.0167], atol=1e-6)


@pytest.mark.parametrize("size", [(257, 333), (333, 257), (256, 256), (301, 256)], ids=str)
def test_without_resizing_the_crop_is_cut_out_of_the_image(tmp_path, size):
    path = noise(tmp_path / "x.png", seed=1, size=size)
    pixels = np.asarray(Image.open(path))
    short = min(size)
    same = Preprocessing(decoder="pil", interpolation="bilinear", resize=short, crop=short, mean=(0, 0, 0), std=(1, 1, 1))
    opencv = Preprocessing(decoder="opencv", interpolation="bilinear", resize=short, crop=short, mean=(0, 0, 0), std=(1, 1, 1))
    left, top = (size[0] - short) // 2, (size[1] - short) // 2
    np.testing.assert_array_equal(preprocessing.read_crop(path, opencv, short), centre(pixels, left, top, short))
    left, top = round((size[0] - short) / 2), round((size[1] - short) / 2)
    np.testing.assert_array_equal(preprocessing.read_crop(path, same, short), centre(pixels, left, top, short))


def test_a_photograph_of_the_networks_size_passes_unchanged(tmp_path):
    path = noise(tmp_path / "x.png", seed=1, size=(32, 32))
    np.testing.assert_array_equal(preprocessing.read_crop(path, WHOLE, 32), np.asarray(Image.open(path)))


def test_another_size_crops_the_same_share():
    whole = preprocessing.read_crop(PHOTOGRAPHS[0], TORCHVISION, 448)  # 512 pixels: not resized
    np.testing.assert_array_equal(whole, np.asarray(Image.open(PHOTOGRAPHS[0]).convert("RGB"))[32:480, 32:480])


@pytest.mark.parametrize("how", [PADDLE, TORCHVISION, TIMM], ids=["paddle", "torchvision", "timm"])
@pytest.mark.parametrize(
    ("mode", "form", "apart"), [("L", "png", 1), ("L", "jpg", 1), ("RGBA", "png", 0), ("1", "png", 1), ("CMYK", "jpg", 9)]
)
def test_every_kind_of_jpeg_and_png_becomes_rgb(tmp_path, how, mode, form, apart):
    """CMYK has no colour profile here: both libraries read plain inks but round differently."""
    original = Image.open(PHOTOGRAPHS[0]).convert("RGB").convert(mode)
    original.save(tmp_path / f"x.{form}", **({"quality": 100, "subsampling": 0} if form == "jpg" else {}))
    original.convert("RGB").save(tmp_path / "plain.png")
    got = preprocessing.read_crop(tmp_path / f"x.{form}", how, 224).astype(int)
    assert np.abs(got - preprocessing.read_crop(tmp_path / "plain.png", how, 224)).mean() <= apart


def test_exif_rotates_a_photograph_in_opencv_only(tmp_path):
    """As in PaddleClas, torchvision and timm."""
    picture = Image.open(PHOTOGRAPHS[0]).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: a quarter to the right
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    picture.save(tmp_path / "plain.jpg", quality=100, subsampling=0)
    plain, turned = (preprocessing.read_crop(tmp_path / f"{name}.jpg", PADDLE, 224).astype(int) for name in ("plain", "turned"))
    assert np.abs(np.rot90(plain, -1) - turned).max() <= 1
    plain, turned = (preprocessing.read_crop(tmp_path / f"{name}.jpg", TORCHVISION, 224) for name in ("plain", "turned"))
    np.testing.assert_array_equal(plain, turned)


@pytest.mark.parametrize("how", [PADDLE, TORCHVISION], ids=["opencv", "pil"])
def test_one_pixel_fills_the_image(tmp_path, how):
    path = noise(tmp_path / "x.png", seed=3, size=(1, 1))
    assert (preprocessing.read_crop(path, how, 224) == np.asarray(Image.open(path))[0, 0]).all()


@pytest.mark.parametrize("how", [PADDLE, TORCHVISION], ids=["opencv", "pil"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest overrides ours
def test_a_photograph_of_12000_by_12000_is_read(tmp_path, how):
    picture = Image.new("L", (12_000, 12_000), 77)
    picture.save(tmp_path / "x.png", compress_level=1)
    assert (preprocessing.read_crop(tmp_path / "x.png", how, 224) == 77).all()


def bomb(width, height):
    """A PNG whose header claims this size, without pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def claim():
    """A PNG of 43 bytes whose chunk claims 4 GB."""
    return bomb(8, 8)[:33] + struct.pack(">I", 0xFFFFFFF0) + b"IDAT\0\0"


def jpeg():
    out = io.BytesIO()
    Image.open(PHOTOGRAPHS[0]).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def strip():
    out = io.BytesIO()
    Image.new("L", (60_000, 1)).save(out, "PNG")
    return out.getvalue()


def deep():
    out = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("decoder", [PADDLE, TORCHVISION], ids=["opencv", "pil"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"no photograph at all", "it is not a JPEG, PNG, BMP or WEBP image"),
        (jpeg()[:-2000], "truncated"),
        (jpeg()[:-1], "truncated"),
        (jpeg()[:300], ""),
        (bomb(30_000, 30_000), "it has more than 178,956,970 pixels, the limit"),
        (bomb(2000, 2000), ""),
        (strip(), "pixels; the limit is 178,956,970"),
        (claim(), ""),
    ],
    ids=[
        "empty",
        "text",
        "cut",
        "cut by a byte",
        "header only",
        "bomb",
        "no pixels",
        "a strip that would be stretched",
        "a chunk's claim",
    ],
)
def test_an_unreadable_file_is_an_error_with_its_path_and_reason(tmp_path, decoder, data, reason):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(path, decoder, 224)
    assert str(path) in str(caught.value)
    assert reason in caught.value.reason


def test_sixteen_bits_are_read_by_opencv_and_an_error_for_pil(tmp_path):
    (tmp_path / "x.png").write_bytes(deep())
    assert preprocessing.read_crop(tmp_path / "x.png", PADDLE, 224).shape == (224, 224, 3)
    with pytest.raises(ImageError, match="16 or more bits"):
        preprocessing.read_crop(tmp_path / "x.png", TORCHVISION, 224)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "x.jpg", PADDLE, 224)


def test_a_png_that_claims_gigabytes_takes_none(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(claim())
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (1 << 31, 1 << 31));" + READ
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.stdout == "it is truncated or damaged\n", done.stderr


READ = """
from pathlib import Path
from trtzoo.core.errors import ImageError
from trtzoo.images import preprocessing
from trtzoo.models.sources import PUBLISHERS
try:
    preprocessing.read_crop(Path(sys.argv[1]), PUBLISHERS["paddle"].preprocessing, 224)
except ImageError as error:
    print(error.reason)
"""
