"""Pictures from strangers: the three formats, and what is refused."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from stages import images
from stages.images import MAX_JPEG_BYTES, ImageError, open_image, to_jpeg


def packed(kind, size=(64, 48), colour=(200, 30, 30), mode="RGB", **options):
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_jpeg_png_and_webp_are_opened_as_rgb(kind):
    image = open_image(packed(kind))
    assert (image.size, image.mode) == ((64, 48), "RGB")
    assert np.abs(np.asarray(image)[20, 20].astype(int) - [200, 30, 30]).max() < 8
    assert open_image(packed("PNG", mode="LA", colour=(90, 10))).mode == "RGB"


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_not_looked_at(kind):
    with pytest.raises(ImageError) as caught:
        open_image(packed(kind))
    assert caught.value.reason == "bad_image"


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(side):
    """A valid PNG of side x side black pixels in a few hundred bytes a million."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * 8) * (side // 8), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_by_their_header():
    data = bomb(20_000)
    assert len(data) < 100_000
    for side in (20_000, 7_000):  # beyond what Pillow itself allows, and beyond our bound only
        with pytest.raises(ImageError) as caught:
            open_image(bomb(side))
        assert caught.value.reason == "too_large"
    assert open_image(bomb(80)).size == (80, 80)


def test_bytes_are_bounded(monkeypatch):
    data = packed("PNG")
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(data) - 1)
    with pytest.raises(ImageError, match="bytes"):
        open_image(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_pictures_are_told_and_never_something_else(kind):
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(out, kind)
    data = out.getvalue()
    with pytest.raises(ImageError):
        open_image(data[: len(data) // 2])
    for _ in range(200):
        spoilt = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            spoilt[at] = rng.integers(0, 256)
        with contextlib.suppress(ImageError):  # and no other
            open_image(bytes(spoilt))
    for nothing in (b"", b"\0" * 100, b"<svg/>"):
        with pytest.raises(ImageError):
            open_image(nothing)


def test_kept_pictures_are_small_and_alike_each_time():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), dtype=np.uint8))
    jpeg = to_jpeg(noise, 384)
    assert len(jpeg) <= MAX_JPEG_BYTES
    assert open_image(jpeg).size == (384, 216)
    assert to_jpeg(noise, 384) == jpeg
    assert noise.size == (1920, 1080)
    assert open_image(to_jpeg(Image.new("RGB", (20, 10)), 384)).size == (20, 10)
    assert len(to_jpeg(Image.new("RGB", (384, 384), "blue"), 384)) < 5_000


def test_a_large_jpeg_is_opened_near_the_size_that_is_wanted():
    data = packed("JPEG", size=(1600, 1200))
    assert open_image(data, near_px=384).size == (800, 600)
    assert open_image(data).size == (1600, 1200)
