"""From samples of more than 8 bits to 8."""

import numpy as np

WINDOW_BITS = (10, 12, 14)
"""of sensors, whose values often lie unscaled in words of 16 bits"""
BLOCK_VALUES = 1 << 20


def to_8_bit(
    values: np.ndarray, white: float | None, negative: bool = False, is_certain: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Samples [height, width, ...] as uint8 of the same shape, and notes.

    `white` is the value that means white; None where the format does not say (floats, 32-bit integers), which are
    scaled from their extremes: what is not finite becomes black, and so does a picture of one single value. Where all
    of 16 bits should be used and the values end at 10, 12 or 14 of them, those are the range (`white_by_content`),
    unless it `is_certain`.
    """
    notes: list[str] = []
    if white is None:
        low, white = _extremes(values)
    else:
        low, white = 0.0, float(white)
        if white == 65535 and not is_certain and (bits := _bits_of(values)):
            white = float(2**bits - 1)
            notes.append("white_by_content")
    result = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK_VALUES // max(1, values[0].size))
    for top in range(0, len(values), rows):
        block = values[top : top + rows].astype(np.float32)
        finite = np.isfinite(block)
        block -= low
        block *= 255 / (white - low) if white > low else 0.0
        block[~finite] = 0.0
        if negative:
            np.subtract(255, block, out=block)
        result[top : top + rows] = np.clip(np.rint(block), 0, 255).astype(np.uint8)
    return result, notes


def _extremes(values: np.ndarray) -> tuple[float, float]:
    finite = np.isfinite(values)
    if not finite.any():
        return 0.0, 0.0
    return float(values.min(where=finite, initial=_most(values))), float(
        values.max(where=finite, initial=-_most(values) if values.dtype.kind != "u" else 0)
    )


def _most(values: np.ndarray) -> float | int:
    return np.inf if values.dtype.kind == "f" else int(np.iinfo(values.dtype).max)


def _bits_of(values: np.ndarray) -> int | None:
    """How many of the 16 bits are used, if so few that it was no choice of who took the picture."""
    most = int(values.max())
    return next((bits for bits in WINDOW_BITS if 0 < most < 2**bits), None)
