"""Hashes of pictures: a perceptual one, near for near-equal pictures, and an exact one of what is shown."""

import hashlib

import numpy as np
from PIL import Image

SIDE_PX = 32
FREQUENCIES = 8
DIGITS = 32
STRIP_PIXELS = 1 << 20
"""Hashed at a time: the bytes of a whole picture would be another copy of it."""


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit DCT hash of an image, as an unsigned integer; compare two by their Hamming distance.

    The picture is reduced to 32 x 32 grey values; of its two-dimensional DCT-II the 8 x 8 lowest frequencies
    are kept, less the constant row and column; a bit is 1 where a coefficient exceeds their median. Rows
    first, the lowest frequency is the most significant bit. A picture of one colour hashes to 0.

    Source: C. Zauner: Implementation and Benchmarking of Perceptual Image Hash Functions
    (2010), section 3.2.1.
    """
    small = image.convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=3.0)
    coefficients = _BASIS @ np.asarray(small, dtype=np.float64) @ _BASIS.T
    # Rounded, so that what should be equal (a flat picture's zeros) does not differ by the last bit of a sum.
    coefficients = np.round(coefficients, 6).ravel()
    return int.from_bytes(np.packbits(coefficients > np.median(coefficients)).tobytes(), "big")


def _dct_basis() -> np.ndarray:
    """Rows 1 to 8 of the orthonormal DCT-II matrix, [8, 32]."""
    frequency = np.arange(1, FREQUENCIES + 1)[:, None]
    position = np.arange(SIDE_PX)[None, :]
    return np.sqrt(2 / SIDE_PX) * np.cos(np.pi * frequency * (2 * position + 1) / (2 * SIDE_PX))


_BASIS = _dct_basis()


def pixel_hash(upright: Image.Image, width: int, height: int, colour: bytes = b"") -> str:
    """Return the first 32 hex digits of the SHA-256 of what a picture shows, whatever is written beside it.

    `upright` holds the decoded pixels, 8 bits a channel, turned as EXIF says; `width` and `height` are those of the
    source, in pixels, which a scaled decode does not have any more. `colour` tells what the pixels' values mean where
    that is not sRGB: a file that gets another profile shows another picture.
    """
    digest = hashlib.sha256(f"{width} x {height} {upright.size} {upright.mode} ".encode() + colour)
    rows = max(1, STRIP_PIXELS // upright.width)
    for top in range(0, upright.height, rows):
        digest.update(upright.crop((0, top, upright.width, min(top + rows, upright.height))).tobytes())
    return digest.hexdigest()[:DIGITS]
