"""Pictures that nobody vouches for: opened within bounds, and made into the small JPEGs that the corpus keeps.

Only JPEG, PNG and WebP are looked at, by Pillow. The header's size is read first: a picture that would unpack to more
than MAX_PIXELS is refused before a pixel is.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_IMAGE_BYTES = 10_000_000
MAX_PIXELS = 40_000_000
#: No kept picture is larger; one of 384 px is 10 to 25 kB at the first quality.
MAX_JPEG_BYTES = 40_000
_QUALITIES = (85, 70, 50, 30)


class ImageError(Exception):
    """Bytes that give no picture. `reason` is a fixed word, the message one sentence for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_image(data: bytes, near_px: int | None = None) -> Image:
    """The picture, RGB. `near_px`: a JPEG may be opened at a smaller size, its sides no shorter than this.

    ImageError `too_large` beyond the bounds, `bad_image` for all that is no such picture or a damaged one.
    """
    from PIL import Image

    if len(data) > MAX_IMAGE_BYTES:
        raise ImageError("too_large", f"the picture has more than {MAX_IMAGE_BYTES} bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ImageError("too_large", f"the picture has {image.width} x {image.height} pixels")
        if near_px:
            image.draft("RGB", (near_px, near_px))
        return image.convert("RGB")
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", f"the picture is far too large: {error}") from error
    except Exception as error:  # broken bytes lead Pillow's readers to errors of any kind
        raise ImageError("bad_image", "the bytes are no whole JPEG, PNG or WebP picture") from error


def to_jpeg(image: Image, max_side_px: int) -> bytes:
    """A JPEG whose longer side is at most `max_side_px`; the same picture gives the same bytes."""
    from PIL import Image

    if max(image.size) > max_side_px:
        image = image.copy()
        image.thumbnail((max_side_px, max_side_px), Image.Resampling.BICUBIC)
    for quality in _QUALITIES:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        if out.tell() <= MAX_JPEG_BYTES:
            break
    return out.getvalue()
