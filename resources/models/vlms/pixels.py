"""Pictures as squares of numbers for captioners that are of no library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from resources.models.vlms.answers import Pictures

if TYPE_CHECKING:
    from torch import Tensor

BICUBIC = 3
"""Of Pillow"""


def squares(pictures: Pictures, side_px: int) -> Tensor:
    """[n, 3, side, side], -1..1; scaled by Pillow, as in their training: other scalers round otherwise."""
    import torch

    size = (side_px, side_px)
    pixels = [np.asarray(picture.convert("RGB").resize(size, BICUBIC), np.float32) for picture in pictures]
    return torch.from_numpy(np.stack(pixels) / 127.5 - 1).permute(0, 3, 1, 2)
