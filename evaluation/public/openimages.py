"""Open Images V7, rare classes: the pictures of its validation set that show a class with few verified pictures there.

People verified labels of whole pictures, present (1) and absent (0); what nobody looked for is unknown. A class is rare where
it was verified in at most 10 pictures, as LVIS calls it; the vocabulary are all classes that were verified present somewhere,
so that it does not depend on how many pictures are taken. Boxes are there for 600 classes. Kuznetsova et al., The Open
Images Dataset V4, 2020.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.public.benchmark import Chosen
from evaluation.public.fetching import BenchmarkError, Source
from evaluation.public.tail_first import concept_counts
from taxonomy import Concept

_GOOGLE = "https://storage.googleapis.com/openimages"
LABELS = Source(
    f"{_GOOGLE}/v7/oidv7-val-annotations-human-imagelabels.csv",
    "annotations/oidv7-val-annotations-human-imagelabels.csv",
    100 * 2**20,
    "92ddbdfceb3626e044df5e89100b24f6c22a79c1888a4bddd00a6f231d86d56a",
)
CLASSES = Source(
    f"{_GOOGLE}/v7/oidv7-class-descriptions.csv",
    "annotations/oidv7-class-descriptions.csv",
    10 * 2**20,
    "84a4373a0efb7fd6d93fe19b0e7ceb6c1b855c233d13b9b78a9a33655c9fdce3",
)
IMAGES = Source(
    f"{_GOOGLE}/2018_04/validation/validation-images-with-rotation.csv",
    "annotations/validation-images-with-rotation.csv",
    100 * 2**20,
    "ed93a0e121fe345effdfc7359b848dbc64a1ff6778c8c73563157cb500b33a17",
)
BOXES = Source(
    f"{_GOOGLE}/v5/validation-annotations-bbox.csv",
    "annotations/validation-annotations-bbox.csv",
    200 * 2**20,
)
_PICTURES = "https://open-images-dataset.s3.amazonaws.com/validation"
"""Common Visual Data Foundation's copies, 1024 pixels at most; the originals lie at Flickr and vanish."""
_MOST_BYTES = 16 * 2**20
RARE = 10
_ID = re.compile(r"[0-9a-f]{16}")


def choose(files: list[Path]) -> Chosen:
    """Pictures, concepts and truth of the four files. Raises BenchmarkError."""
    labels, classes, images, boxes = files
    present, absent = _labels(labels)
    counts = concept_counts(present)
    shown = {
        image: concepts for image, concepts in present.items() if any(counts[c] <= RARE for c in concepts)
    }
    names = _names(classes)
    concepts = sorted(counts)
    known = {row[0] for row in _rows(images, ("ImageID",))}
    if strange := sorted(shown.keys() - known):
        raise BenchmarkError(f"{images}: lacks the picture {strange[0]} that {labels.name} names")
    return Chosen(
        {f"{image}.jpg": own for image, own in shown.items()},
        {
            f"{image}.jpg": Source(f"{_PICTURES}/{image}.jpg", f"images/{image}.jpg", _MOST_BYTES)
            for image in shown
        },
        [Concept(name, names.get(name) or name) for name in concepts],
        _truth(shown, absent, concepts, dict(_boxes(boxes, shown))),
        credits=_credits(images, shown.keys()),
    )


def _names(path: Path) -> dict[str, str]:
    """Class -> name, of two columns; earlier releases have no header."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row[0]: row[1].strip() for row in csv.reader(file) if len(row) > 1 and row[0] != "LabelName"}


def _labels(path: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Image -> classes that were verified to be there, and that were verified not to be."""
    verified: dict[str, dict[str, set[str]]] = {"1": defaultdict(set), "0": defaultdict(set)}
    for number, (image, label, confidence) in enumerate(
        _rows(path, ("ImageID", "LabelName", "Confidence")), start=2
    ):
        if not _ID.fullmatch(image) or confidence not in verified:
            raise BenchmarkError(
                f"{path}, row {number}: {image!r}, {confidence!r} are no id of 16 hexadecimal digits and 0 or 1"
            )
        verified[confidence][image].add(label)
    return verified["1"], verified["0"]


def _boxes(
    path: Path, shown: Mapping[str, set[str]]
) -> Iterator[tuple[tuple[str, str], list[tuple[list[float], int]]]]:
    found: dict[tuple[str, str], list[tuple[list[float], int]]] = defaultdict(list)
    fields = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf")
    for image, label, *numbers in _rows(path, fields):
        if label in shown.get(image, ()):
            left, right, top, bottom, group = map(float, numbers)
            found[image, label].append(([left, top, right - left, bottom - top], int(group)))
    yield from found.items()


def _truth(
    shown: Mapping[str, set[str]],
    absent: Mapping[str, set[str]],
    concepts: list[str],
    boxes: Mapping[tuple[str, str], list[tuple[list[float], int]]],
) -> dict[str, Any]:
    """Pictures are 1 x 1: boxes of Open Images are fractions."""
    number = {name: place for place, name in enumerate(concepts, start=1)}
    images, annotations, tags = [], [], []
    for place, image in enumerate(sorted(shown), start=1):
        negatives = sorted(number[label] for label in absent.get(image, ()) if label in number)
        images.append(
            {"id": place, "file_name": f"{image}.jpg", "width": 1, "height": 1, "neg_category_ids": negatives}
        )
        for label in sorted(shown[image]):
            pair = {"image_id": place, "category_id": number[label]}
            own = boxes.get((image, label), [])
            annotations += [{**pair, "bbox": box, "iscrowd": group} for box, group in own]
            if not own:
                tags.append(pair)
    return {
        "images": images,
        "categories": [{"id": place, "name": name} for name, place in number.items()],
        "annotations": annotations,
        "image_tags": tags,
    }


def _credits(path: Path, images: Collection[str]) -> list[tuple[str, ...]]:
    """Who took a picture, and its licence: CC BY asks for it."""
    fields = ("ImageID", "Author", "Title", "License", "OriginalLandingURL")
    return [fields, *(row for row in _rows(path, fields) if row[0] in images)]


def _rows(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """These columns of a CSV file. Raises BenchmarkError where it lacks one."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if lacking := [name for name in fields if name not in (reader.fieldnames or ())]:
            raise BenchmarkError(f"{path}: has no column {', '.join(lacking)}; remove it to fetch it again")
        for row in reader:
            yield tuple(row[name] or "" for name in fields)
