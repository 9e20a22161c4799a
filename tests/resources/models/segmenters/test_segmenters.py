"""GrabCut on drawn pictures, and masks as they are stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.segmenters import Segmenter, SegmenterSpec
from resources.models.segmenters.masks import box_fill, box_slices, decode_rle, encode_rle, filled_box

GRABCUT = SegmenterSpec(family="grabcut", model="opencv", licence="Apache-2.0")


@pytest.fixture(scope="module")
def grabcut() -> Segmenter:
    return make_model(GRABCUT, "cpu")


def drawn(width: int = 400, height: int = 300) -> tuple[Image.Image, list[np.ndarray], np.ndarray]:
    """A noisy grey picture with a red ellipse and a blue cross; their masks and their boxes."""
    masks, boxes = [], []
    noise = np.random.default_rng(3).normal(0, 6, (height, width, 3))
    pixels = 130 + noise
    for number, colour in enumerate([(190, 40, 30), (30, 60, 170)]):
        flat = Image.new("1", (width, height))
        pen = ImageDraw.Draw(flat)
        if number == 0:
            pen.ellipse((0.1 * width, 0.2 * height, 0.4 * width, 0.8 * height), fill=1)
        else:
            pen.rectangle((0.7 * width, 0.2 * height, 0.75 * width, 0.9 * height), fill=1)
            pen.rectangle((0.6 * width, 0.35 * height, 0.85 * width, 0.45 * height), fill=1)
        mask = np.array(flat)
        pixels[mask] = np.array(colour) + noise[mask]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append((columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]))
        masks.append(mask)
    relative = np.array(boxes, dtype=np.float32) / np.array([width, height, width, height], dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), masks, relative


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("size", [(400, 300), (1201, 907), (97, 161)])
def test_grabcut_finds_drawn_things(grabcut: Segmenter, size: tuple[int, int]) -> None:
    image, masks, boxes = drawn(*size)
    found = grabcut.segment(image, boxes)
    assert found.masks.shape == (2, image.height, image.width)
    assert found.masks.dtype == np.bool_
    assert found.methods == ("grabcut", "grabcut")
    assert np.isnan(found.scores).all()
    assert [iou(mask, truth) > 0.93 for mask, truth in zip(found.masks, masks, strict=True)] == [True, True]
    assert iou(filled_box(boxes[1], image.height, image.width), masks[1]) < 0.5


def test_grabcut_forgives_a_box_that_is_a_little_off(grabcut: Segmenter) -> None:
    image, masks, boxes = drawn()
    shifted = boxes + 0.04 * np.array([1, -1, -1, 1], dtype=np.float32) * np.tile(boxes[:, 2:], 2)
    for mask, truth in zip(grabcut.segment(image, shifted).masks, masks, strict=True):
        assert iou(mask, truth) > 0.9


def test_a_mask_of_grabcut_depends_on_its_box_and_pixels_alone(grabcut: Segmenter) -> None:
    image, _, boxes = drawn()
    together = grabcut.segment(image, np.concatenate([boxes, boxes[::-1]])).masks
    np.testing.assert_array_equal(together[:2], together[:1:-1])
    for mask, box in zip(together, boxes, strict=False):
        np.testing.assert_array_equal(mask, grabcut.segment(image, box[None]).masks[0])


def test_grabcut_falls_back_to_the_filled_box_and_says_so(grabcut: Segmenter) -> None:
    # what is in the box has the colours of what is around it: all of it goes to the background
    stripes = np.zeros((200, 300, 3), dtype=np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = 255
    box = np.array([[0.25, 0.25, 0.5, 0.5]], dtype=np.float32)
    for image in (
        Image.fromarray(stripes),
        Image.new("RGB", (300, 200), (9, 90, 9)),
        Image.new("RGB", (1, 1)),
    ):
        found = grabcut.segment(image, box)
        assert found.methods == ("box",)
        np.testing.assert_array_equal(found.masks[0], filled_box(box[0], image.height, image.width))


def test_grabcut_leaves_specks_out_and_keeps_what_matters(grabcut: Segmenter) -> None:
    pixels = np.full((200, 200, 3), 120, dtype=np.uint8)
    pixels[60:90, 60:140] = pixels[110:140, 60:140] = (200, 30, 30)
    pixels[98:101, 98:101] = (200, 30, 30)
    [mask] = grabcut.segment(Image.fromarray(pixels), np.array([[0.3, 0.3, 0.4, 0.4]])).masks
    assert mask[75, 100]
    assert mask[125, 100]
    assert not mask[96:103, 96:103].any()


@pytest.mark.parametrize(
    "box",
    [(0, 0, 1, 1), (-0.1, 0.5, 0.4, 0.7), (0.999, 0.999, 0.001, 0.001), (0.3, 0.3, 0, 0), (0, 0.4, 1, 0.01)],
)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (640, 5), (64, 64)])
def test_grabcut_answers_for_any_box_of_any_picture(
    grabcut: Segmenter, box: tuple[float, ...], size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for image in (Image.fromarray(noise), Image.new("L", size, 77)):
        found = grabcut.segment(image, np.array([box], dtype=np.float32))
        assert found.masks.shape == (1, size[1], size[0])
        assert found.masks.any()


def test_no_boxes_no_masks(grabcut: Segmenter) -> None:
    found = grabcut.segment(Image.new("RGB", (40, 30)), np.zeros((0, 4), dtype=np.float32))
    assert (found.masks.shape, found.scores.shape, found.methods) == ((0, 30, 40), (0,), ())


def test_grabcut_has_no_weights_and_says_so() -> None:
    with pytest.raises(ModelUnavailableError, match="model: opencv"):
        make_model(GRABCUT.model_copy(update={"model": "opencv/grabcut-large"}), "cpu")


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_mask_survives_its_encoding(mask: np.ndarray) -> None:
    counts = encode_rle(mask)
    np.testing.assert_array_equal(decode_rle(counts, *mask.shape), mask)
    assert coco.area({"size": list(mask.shape), "counts": counts.encode()}) == mask.sum()


def test_a_box_is_rounded_to_pixels_inside_the_image() -> None:
    assert box_slices(np.array([0.25, 0.5, 0.5, 0.25]), 8, 4) == (slice(4, 6), slice(1, 3))
    assert box_slices(np.array([0.26, 0.5, 0.55, 0.33]), 8, 4) == (slice(4, 7), slice(1, 3))
    assert box_slices(np.array([-1.0, 0.999, 5.0, 0.0]), 8, 4) == (slice(7, 8), slice(0, 4))
    # 147, 638, 421 and 267 of 768 x 1024 pixels through float32
    box = (np.array([147, 638, 421, 267]) / np.array([768, 1024, 768, 1024])).astype(np.float32)
    assert box_slices(box, 1024, 768) == (slice(638, 905), slice(147, 568))


def test_box_fill_is_the_share_of_the_box_that_is_covered() -> None:
    mask = np.zeros((8, 4), dtype=bool)
    mask[:, :2] = True
    assert box_fill(mask, np.array([0.25, 0.5, 0.5, 0.25])) == 0.5
    assert box_fill(mask, np.array([0.0, 0.0, 0.5, 1.0])) == 1.0
