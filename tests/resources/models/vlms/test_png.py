"""The PNG that is sent: to the last pixel what Pillow's is."""

from __future__ import annotations

import io
import warnings

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resources.models.vlms.png import png_of


def opened(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = Image.open(io.BytesIO(content))
        image.verify()  # its checksums
        image = Image.open(io.BytesIO(content))
        image.load()
    return image


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.booleans())
def test_every_pixel_comes_through(width: int, height: int, seed: int, packed: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = opened(png_of(Image.fromarray(pixels), packed=packed))
    assert (image.format, image.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_imagecodecs_reads_it_too() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(imagecodecs.png_decode(png_of(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_other_modes_stay_what_they_are(mode: str) -> None:
    image = Image.new("RGB", (9, 5), (200, 30, 90)).convert("L" if mode == "I;16" else mode).convert(mode)
    sent = opened(png_of(image))
    assert sent.mode == mode
    np.testing.assert_array_equal(np.asarray(sent), np.asarray(image))


def test_a_drawn_picture_is_as_small_as_pillows() -> None:
    ramp = np.linspace(0, 255, 200).astype(np.uint8)
    pixels = np.stack([np.add.outer(ramp, ramp), np.subtract.outer(ramp, ramp), np.outer(ramp, ramp)], axis=2)
    image = Image.fromarray(pixels.astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    assert len(png_of(image)) < 1.2 * len(buffer.getvalue())
