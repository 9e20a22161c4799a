"""Transparent pictures on a ground that shows them, and pictures that show nothing."""

import numpy as np
from PIL import Image, ImageStat

WHITE, DARK = 255, 32
LIGHT = 224
"""A mean luminance above this is hard to see on white."""
MOSTLY_OPAQUE = 0.9
BLANK = "blank"
"""The note of a picture of one colour all over."""
BLANK_RANGE = 4
BLANK_CELLS = 64


def on_ground(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """An LA or RGBA picture without its transparency: on white, or on dark grey if it is a light drawing."""
    alpha = image.getchannel("A")
    colours = image.convert(image.mode.removesuffix("A"))
    is_light = ImageStat.Stat(alpha).mean[0] < MOSTLY_OPAQUE * 255 and _luminance(colours, alpha) > LIGHT
    ground = DARK if is_light else WHITE
    plain = Image.new(colours.mode, image.size, ground if colours.mode == "L" else (ground,) * 3)
    plain.paste(colours, mask=alpha)
    return plain, ["dark_ground"] if is_light else []


def _luminance(colours: Image.Image, alpha: Image.Image) -> float:
    """The mean of what is seen, weighted by how much of it is; 0..255. 0 where nothing is."""
    size = (min(colours.width, 256), min(colours.height, 256))
    values = np.asarray(colours.convert("L").resize(size, Image.Resampling.NEAREST), dtype=np.float64)
    weights = np.asarray(alpha.resize(size, Image.Resampling.NEAREST), dtype=np.float64)
    return float((values * weights).sum() / weights.sum()) if weights.any() else 0.0


def is_blank(image: Image.Image) -> bool:
    """Whether an RGB picture is of one colour, but for noise: black, white, or wholly transparent before."""
    cell = max(1, max(image.size) // BLANK_CELLS)
    extremes = image.reduce(cell).getextrema()
    return all(most - least <= BLANK_RANGE for least, most in extremes)  # type: ignore[misc]
