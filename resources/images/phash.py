"""A perceptual hash: near-equal pictures have near-equal hashes, whatever their size or compression."""

import numpy as np
from PIL import Image

SIDE_PX = 32
FREQUENCIES = 8


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
