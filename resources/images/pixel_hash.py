"""A hash of what a picture shows, whatever is written beside it: equal when only a file's metadata changed."""

import hashlib

from PIL import Image

DIGITS = 32
STRIP_PIXELS = 1 << 20
"""Hashed at a time: the bytes of a whole picture would be another copy of it."""


def pixel_hash(upright: Image.Image, width: int, height: int, colour: bytes = b"") -> str:
    """Return the first 32 hex digits of the SHA-256 of a picture.

    `upright` holds the decoded pixels, 8 bits a channel, turned as EXIF says; `width` and `height` are those of the
    source, in pixels, which a scaled decode does not have any more. `colour` tells what the pixels' values mean where
    that is not sRGB: a file that gets another profile shows another picture.
    """
    digest = hashlib.sha256(f"{width} x {height} {upright.size} {upright.mode} ".encode() + colour)
    rows = max(1, STRIP_PIXELS // upright.width)
    for top in range(0, upright.height, rows):
        digest.update(upright.crop((0, top, upright.width, min(top + rows, upright.height))).tobytes())
    return digest.hexdigest()[:DIGITS]
