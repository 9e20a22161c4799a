"""LVIS minival: the 4,809 pictures of COCO val2017 that LVIS v1 annotates, with 1,203 categories.

The annotations are those by which detectors are compared on minival (Kamath et al., 2021; the file is published with GLIP).
LVIS is federated: each picture says which categories are verified to be absent (`neg_category_ids`) and which are not
annotated to the last (`not_exhaustive_category_ids`). Gupta et al., LVIS: A Dataset for Large Vocabulary Instance
Segmentation, 2019.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from evaluation.public.benchmark import Chosen
from evaluation.public.fetching import BenchmarkError, Source
from evaluation.readers.coco import Annotation, Document, read_document, without_polygons
from taxonomy import Concept

ANNOTATIONS = Source(
    "https://huggingface.co/GLIPModel/GLIP/resolve/main/lvis_v1_minival_inserted_image_name.json",
    "annotations/lvis_v1_minival_inserted_image_name.json",
    most_bytes=600 * 2**20,
)
_PUBLISHED = re.compile(r"http://images\.cocodataset\.org/((?:val|train)2017/[0-9]{12}\.jpg)")
_BUCKET = "https://s3.amazonaws.com/images.cocodataset.org/"
"""The bucket behind images.cocodataset.org, which has no certificate of its own."""
_MOST_BYTES = 8 * 2**20


def choose(files: list[Path]) -> Chosen:
    """Pictures, concepts and truth of the annotations. Raises UnusableFile, BenchmarkError."""
    (path,) = files
    read_document(path, Document[Annotation], polygons=False)  # says what is wrong, by place
    document = json.loads(without_polygons(path.read_bytes()))
    concept_of = {category["id"]: category["name"] for category in document["categories"]}
    shown: dict[str, set[str]] = {_name(image): set() for image in document["images"]}
    name_of = {image["id"]: _name(image) for image in document["images"]}
    for annotation in document["annotations"]:
        shown[name_of[annotation["image_id"]]].add(concept_of[annotation["category_id"]])
    sources = {_name(image): _source(path, image) for image in document["images"]}
    return Chosen(
        shown, sources, [_concept(category) for category in document["categories"]], _truth(document)
    )


def _name(image: dict[str, Any]) -> str:
    return str(image.get("coco_url") or image.get("file_name") or image["id"]).rpartition("/")[2]


def _source(path: Path, image: dict[str, Any]) -> Source:
    """Raises BenchmarkError: nothing else than COCO's pictures is fetched, whatever a file of annotations names."""
    found = _PUBLISHED.fullmatch(str(image.get("coco_url", "")))
    if not found:
        raise BenchmarkError(f"{path}: coco_url of image {image.get('id')} is none of images.cocodataset.org")
    return Source(f"{_BUCKET}{found[1]}", f"images/{_name(image)}", _MOST_BYTES)


def _concept(category: dict[str, Any]) -> Concept:
    """LVIS writes `bow_(weapon)`; what others call it are its synonyms, of which its name is one."""
    name = str(category["name"])
    label = name.replace("_", " ")
    others = {str(word).replace("_", " ") for word in category.get("synonyms") or ()} - {label}
    return Concept(
        name,
        label,
        tuple(others),
        definition=str(category.get("def") or ""),
        notation=str(category.get("synset") or ""),
    )


def _truth(document: dict[str, Any]) -> dict[str, Any]:
    """As the evaluation reads it: file names, boxes, what is verified to be absent; without polygons."""
    kept = ("id", "width", "height", "neg_category_ids", "not_exhaustive_category_ids")
    boxes = defaultdict[str, list[Any]](list)
    for row in document["annotations"]:
        boxes["annotations"].append(
            {key: row[key] for key in ("image_id", "category_id", "bbox", "area") if key in row}
        )
    return {
        "images": [
            {"file_name": _name(image), **{key: image[key] for key in kept if key in image}}
            for image in document["images"]
        ],
        "categories": [
            {key: row[key] for key in ("id", "name", "frequency") if key in row}
            for row in document["categories"]
        ],
        "annotations": boxes["annotations"],
    }
