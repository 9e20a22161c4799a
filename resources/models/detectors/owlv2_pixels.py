"""What OWLv2 reads of a picture: the library's blur and resize as one pair of banded matrices.

The library blurs the padded square by a kernel of two dimensions and then resizes it. Both are linear and work on rows
and columns apart, so that together they are a matrix on each side of the picture; its rows are read off what the
library makes of single lit pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

_BLOCK = 64
"""Rows of a matrix that are multiplied together with the columns which any of them reads."""
_AS_TRAINED = {"do_pad": True, "do_rescale": True, "do_resize": True, "do_normalize": True, "resample": 2}
"""Of an image processor: the steps that are done here; one with other steps does them itself."""

Band = tuple[int, int, "Tensor"]
"""First and last (exclusive) of the pixels that some of the outputs are made of, and the matrix that makes them."""


def pixel_values(processor: Any, images: Sequence[Image.Image]) -> Tensor:
    """`[n, 3, height, width]` float32 as the image processor of an OWLv2 checkpoint makes them, but for rounding."""
    import torch

    if any(getattr(processor, name) != value for name, value in _AS_TRAINED.items()):
        values: Tensor = processor(images=list(images), return_tensors="pt")["pixel_values"]
        return values
    size = processor.size
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std)
    )
    small = [_squeezed(image, size["height"], size["width"]) * processor.rescale_factor for image in images]
    return (torch.stack(small) - mean) / std


def _squeezed(image: Image.Image, height: int, width: int) -> Tensor:
    """`[3, height, width]` of an image that lies in the top left of a black square."""
    import torch

    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32))
    rows, columns = pixels.shape[:2]
    side = max(rows, columns)
    blurred = side > height and side > width
    # the library takes the strength across from the height, and the one along from the width
    lower = _times(_bands(side, height, width if blurred else side), pixels.reshape(rows, -1)).reshape(
        height, columns, 3
    )
    narrower = _times(
        _bands(side, width, height if blurred else side), lower.permute(1, 0, 2).reshape(columns, -1)
    )
    return narrower.reshape(width, height, 3).permute(2, 1, 0)


def _times(bands: Sequence[Band], rows: Tensor) -> Tensor:
    """The product of a banded matrix and `rows` [n, width]; rows that the matrix reads beyond n are zero."""
    import torch

    return torch.cat(
        [matrix[:, : max(0, len(rows) - start)] @ rows[start:stop] for start, stop, matrix in bands]
    )


@lru_cache(maxsize=32)
def _bands(side: int, size: int, blur_size: int) -> list[Band]:
    """The matrix [size, side] that makes `size` pixels of a row of `side`, as the library does.

    It blurs as for `blur_size` pixels, and not at all where these are as many as there were.
    """
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    lit = torch.eye(side)[None]
    if blur_size < side:
        sigma = (torch.tensor(side) / torch.tensor(blur_size) - 1) / 2
        kernel = int(2 * torch.ceil(3 * sigma).int() + 1)
        lit = functional.gaussian_blur(lit, [kernel, 1], [float(sigma), float(sigma)])
    resized = functional.resize(lit, [side, size], InterpolationMode.BILINEAR, antialias=False)
    matrix = resized[0].T
    bands = []
    for first in range(0, size, _BLOCK):
        block = matrix[first : first + _BLOCK]
        read = block.any(dim=0).nonzero()[:, 0]
        start, stop = int(read[0]), int(read[-1]) + 1
        bands.append((start, stop, block[:, start:stop].contiguous()))
    return bands
