"""Masks of the lake in the forms that other programs want: polygons, and run lengths at the size of the original."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vistag_assets.exports.records import Box, ImageRecord, Mask

_TOLERANCE_PX = 1.5
"""An outline need not follow every step of a mask's pixels."""


def polygons(mask: Mask) -> list[list[tuple[float, float]]]:
    """The outer outlines of a mask, largest first, in corners (x, y) relative to the picture, 0..1; holes are lost."""
    import cv2

    pixels, corner = _cropped(mask)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    sides = np.array([mask.width, mask.height])
    found = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        points = cv2.approxPolyDP(contour, _TOLERANCE_PX, closed=True)[:, 0, :]
        if len(points) > 2:
            # the contour runs through the centres of pixels
            found.append([(round(x, 6), round(y, 6)) for x, y in ((points + corner + 0.5) / sides).tolist()])
    return found


def _cropped(mask: Mask) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The part of a mask that is set, which is mostly small beside the picture, and where it is: x, y."""
    from pycocotools import mask as coco

    x, y, w, h = coco.toBbox({"size": [mask.height, mask.width], "counts": mask.counts}).astype(int)
    return np.ascontiguousarray(decoded(mask)[y : y + h, x : x + w]), np.array([x, y])


def decoded(mask: Mask) -> NDArray[np.uint8]:
    """[height, width] of 0 and 1."""
    from pycocotools import mask as coco

    pixels: NDArray[np.uint8] = coco.decode({"size": [mask.height, mask.width], "counts": mask.counts})
    return pixels


def full_size_rle(mask: Mask, width: int, height: int) -> dict[str, Any]:
    """COCO's compressed RLE of a mask at the size of the original: nearest pixel."""
    import cv2
    from pycocotools import mask as coco

    if (mask.width, mask.height) == (width, height):
        return {"size": [height, width], "counts": mask.counts}
    large = cv2.resize(decoded(mask), (width, height), interpolation=cv2.INTER_NEAREST)
    return {
        "size": [height, width],
        "counts": coco.encode(np.asfortranarray(large))["counts"].decode("ascii"),
    }


def in_pixels(box: Box, image: ImageRecord) -> list[float]:
    """xywh in pixels of the upright original, to a hundredth."""
    sides = (image.width, image.height) * 2
    return [round(value * side, 2) for value, side in zip(box, sides, strict=True)]
