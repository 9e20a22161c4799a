"""Keywords that people left in files as a ground truth: what they name is there, what they do not name is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable

from evaluation.from_lake import EvaluationError
from evaluation.readers.ground_truth import KEYWORDS
from vistag_assets.ingest.keywords import Keyworded


def as_ground_truth(pictures: Iterable[Keyworded]) -> bytes:
    """The document of annotations that a home keeps, of the pictures whose keywords mean a concept.

    Names are relative to the library. Raises EvaluationError where there are none.
    """
    images: list[dict[str, object]] = []
    tags: list[dict[str, int]] = []
    numbers: dict[str, int] = {}
    for picture in pictures:
        if not picture.meant.concepts:
            continue
        images.append({"id": len(images) + 1, "file_name": picture.path})
        for concept in sorted(picture.meant.concepts):
            number = numbers.setdefault(concept, len(numbers) + 1)
            tags.append({"image_id": len(images), "category_id": number})
    if not images:
        raise EvaluationError(
            "No picture has a keyword that is a label of the vocabulary. vistag keywords lists those there are; "
            "give a vocabulary that has them with --taxonomy"
        )
    document = {
        "info": {"source": KEYWORDS},
        "images": images,
        "categories": [{"id": number, "name": concept} for concept, number in numbers.items()],
        "annotations": [],
        "image_tags": tags,
    }
    return json.dumps(document, ensure_ascii=False).encode()
