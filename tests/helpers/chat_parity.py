"""What chat models are asked about which pictures, where they are held to their library or to themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from resources.models.vlms import Answer, VlmSpec
from resources.models.vlms.prompts import CAPTION, DESCRIPTION, REGION, TAGS, with_regions, with_text

SIZES = [(32, 32), (101, 40), (7, 5), (300, 31), (1, 1), (64, 64), (33, 250), (90, 61)]
PROMPTS = [
    CAPTION,
    REGION,
    with_regions(DESCRIPTION, [("r1", "terracotta bowl"), ("r2", "Krug mit Löwe")]),
    CAPTION,
    with_text(TAGS, ["ROOM 4", "Do not touch"]),
    "x",
    CAPTION,
    TAGS,
]
ATOL = 1e-4
"""of log-probabilities and entropies in float32"""


def spec_of(checkpoint: Path, **changes: object) -> VlmSpec:
    return VlmSpec.model_validate(
        {"model": str(checkpoint), "batch_size": 4, "licence": "own", "dtype": "float32"} | changes
    )


def pictures() -> list[Image.Image]:
    """Coarse patches around a colour of each picture's own, so that none looks like another from afar."""
    random = np.random.default_rng(3)
    patches = [
        np.clip(random.integers(0, 256, 3) + random.integers(-60, 60, (4, 4, 3)), 0, 255).astype(np.uint8)
        for _ in SIZES
    ]
    return [
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        for pixels, size in zip(patches, SIZES, strict=True)
    ]


def chat(image: Image.Image, prompt: str) -> list[dict[str, object]]:
    content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": content}]


def assert_same(first: Answer, second: Answer) -> None:
    assert (first.text, first.tokens, first.finished) == (second.text, second.tokens, second.finished)
    np.testing.assert_allclose(first.logprobs, second.logprobs, atol=ATOL)
    np.testing.assert_allclose(first.entropies, second.entropies, atol=ATOL)
