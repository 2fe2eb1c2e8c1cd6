"""Images of strangers: each is decoded or unreadable with a reason, in seconds, by processes that cannot take gigabytes."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.hostile.mutate import BYTES
from trtzoo.core.records import Preprocessing
from trtzoo.images.dataset import DataSet, Photograph
from trtzoo.images.decoders import Decoders

SIZES = (0, 1, 2, 255, 65_500, 65_535, 1 << 20, (1 << 31) - 1, (1 << 32) - 1)
FORMATS = {"JPEG": {}, "PNG": {}, "BMP": {}, "WEBP": {}, "JPEG, progressive": {"progressive": True}}


def how(decoder):
    return Preprocessing(decoder=decoder, interpolation="bilinear", resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1))


def saved(kind, random):
    out = io.BytesIO()
    pixels = np.frombuffer(random.randbytes(20 * 30 * 3), np.uint8).reshape(20, 30, 3)
    Image.fromarray(pixels).save(out, kind.split(",")[0], **FORMATS[kind])
    return out.getvalue()


def chunk(name, data, length=None):
    return struct.pack(">I", len(data) if length is None else length) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(random):
    """A PNG whose sizes or lengths are forged, or whose few bytes are a large image."""
    sides = random.choice(SIZES), random.choice(SIZES)
    head = struct.pack(">II5B", *sides, random.choice((1, 8, 16)), random.choice((0, 2, 3, 4, 6)), 0, 0, random.choice((0, 1)))
    forged = random.choice((None, None, random.choice(SIZES)))
    names = (b"IDAT", b"tEXt", b"zTXt", b"iCCP", b"PLTE", b"tRNS", b"eXIf")
    extra = chunk(random.choice(names), random.randbytes(9), forged) * random.choice((0, 1, 1000))
    pixels = chunk(b"IDAT", zlib.compress(bytes(random.choice((10, 10_000_000)))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + pixels + random.choice((b"", chunk(b"IEND", b"")))


def forged(random):
    """A valid image with other numbers in its first hundred bytes."""
    data = bytearray(saved(random.choice(list(FORMATS)), random))
    at, size = random.randrange(4, 100), random.choice(SIZES)
    data[at : at + 4] = random.choice(
        (struct.pack(">I", size), struct.pack("<I", size), struct.pack(">HH", *[size & 0xFFFF] * 2))
    )
    return bytes(data)


def scans(random):
    """A JPEG of four million pixels that repeats a progressive scan."""
    out = io.BytesIO()
    Image.new("L", (2000, 2000), 128).save(out, "JPEG", progressive=True, quality=50)
    data = out.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * random.choice((1, 20)) + data[-2:]


def image(random):
    kind = random.choice((png, png, forged, forged, forged, "bytes", "bytes", "bytes", "other"))
    if kind == "bytes":
        return random.choice(BYTES)(saved(random.choice(list(FORMATS)), random), random)
    if kind == "other":
        return random.choice((b"", b"\xff\xd8", b"GIF89a", b"<svg/>", b"II*\0" + bytes(99), scans(random)))
    return kind(random)


@pytest.mark.parametrize("decoder", ["opencv", "pil"])
def test_every_image_is_decoded_or_unreadable_with_a_reason(decoder, trials, tmp_path):
    with Decoders(1) as decoders:  # 15 s of a processor for an image; at the lowest priority that may take minutes
        for trial in trials("images", f"decoded by {decoder}", few=20, full=8_000, hang=300):
            paths = tmp_path / "hostile.png", tmp_path / "good.png"
            paths[0].write_bytes(image(trial.random))
            paths[1].write_bytes(saved("PNG", trial.random))
            data = DataSet(folder=tmp_path, photographs=tuple(map(Photograph, paths)))
            with trial:
                hostile, good = decoders.stream(data, [0, 1], how(decoder), 8)
                assert (hostile.pixels is None) == bool(hostile.reason)
                assert good.pixels.shape == (8, 8, 3) and good.reason == ""
                peak = int(open(f"/proc/{decoders.processes[0]}/status").read().partition("VmHWM:")[2].split()[0])  # noqa: SIM115, PTH123
                assert peak < 2_000_000, f"the decoder took {peak} kB"
