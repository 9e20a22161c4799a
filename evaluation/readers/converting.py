"""Ground truth of any format as the document that a home keeps, and its tags as concepts of a vocabulary."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.readers import read_truth
from evaluation.readers.coco import recognises
from evaluation.readers.ground_truth import GroundTruth
from evaluation.readers.sheets import content_of, head_of, parsed_json
from evaluation.readers.tables import Truth
from taxonomy import Taxonomy
from taxonomy.keywords import Keywords, every_label

_HEAD_BYTES = 64 * 1024
_SHOWN = 20


def as_document(path: Path, *, untagged_are_verified: bool = True) -> tuple[bytes, tuple[str, ...]]:
    """A file of ground truth as JSON of annotations, and what has to be known of it.

    A file of annotations stays as it is, byte by byte where nothing has to be added.

    Args:
        untagged_are_verified: whether an image without a tag is known to carry none; else it is not evaluated.

    Raises:
        UnusableFile: as `readers.read_truth` does.
    """
    if not path.is_dir() and recognises(path, head_of(path, _HEAD_BYTES)) and _is_annotations(path):
        content = content_of(path)
        document = parsed_json(content)
        return (content, ()) if not _completed(document, untagged_are_verified) else (_dumped(document), ())
    truth = read_truth(path)
    document = _document(truth)
    _completed(document, untagged_are_verified)
    return _dumped(document), truth.remarks


@dataclass(frozen=True, slots=True)
class Named:
    """A ground truth by the concepts of a vocabulary."""

    truth: GroundTruth
    matched: Mapping[str, str]  # name in the file -> concept id that it is a label of
    strangers: Mapping[str, str | None]  # name in the file that is none -> the nearest label

    def remarks(self) -> list[str]:
        """What matched otherwise than by its id, and what matched nothing, each with the nearest label."""
        lines = []
        if self.matched:
            name, concept_id = next(iter(self.matched.items()))
            lines.append(
                f"{len(self.matched):,} tags are labels of concepts, such as {name!r} of {concept_id}."
            )
        if self.strangers:
            shown = [
                f"{name!r}{f' (nearest: {near})' if near else ''}"
                for name, near in [*self.strangers.items()][:_SHOWN]
            ]
            more = f" and {len(self.strangers) - _SHOWN:,} more" if len(self.strangers) > _SHOWN else ""
            lines.append(
                f"{len(self.strangers):,} tags are no concept of the vocabulary: {', '.join(shown)}{more}."
            )
        return lines


def by_concepts(truth: GroundTruth, taxonomy: Taxonomy) -> Named:
    """The tags of a ground truth as concepts: by id, notation or IRI, else by label in any language.

    What is none keeps its name: nothing can find it, and the figures say so.
    """
    names = truth.concepts["concept_id"].to_pylist()
    find = Keywords(taxonomy).concept_of
    found = {name: concept_id for name in names if (concept_id := find(name)) and concept_id != name}
    labels = [label for concept in taxonomy.concepts for label in every_label(concept)]
    strangers = {
        name: next(iter(get_close_matches(name, labels, 1)), None) if number < _SHOWN else None
        for number, name in enumerate(name for name in names if find(name) is None)
    }
    if not found:
        return Named(truth, {}, strangers)
    concepts = pc.unique(_renamed(truth.concepts["concept_id"], found)).sort()
    pairs = truth.truth.set_column(1, "concept_id", _renamed(truth.truth["concept_id"], found))
    regions = truth.regions.set_column(1, "concept_id", _renamed(truth.regions["concept_id"], found))
    named = replace(
        truth,
        truth=pairs.group_by(pairs.column_names)
        .aggregate([])
        .sort_by([(name, "ascending") for name in pairs.column_names]),
        concepts=pa.table({"concept_id": concepts}),
        regions=regions,
    )
    return Named(named, found, strangers)


def _renamed(column: pa.ChunkedArray, found: Mapping[str, str]) -> pa.Array:
    return pa.array([found.get(name, name) for name in column.to_pylist()], pa.string())


def _is_annotations(path: Path) -> bool:
    head = head_of(path, _HEAD_BYTES).lstrip()
    return head[:1] == "{" and any(f'"{key}"' in head for key in ("images", "categories", "annotations"))


def _completed(document: Any, untagged_are_verified: bool) -> bool:
    """Give images that have none a file name, and take out those without a tag if nobody verified them; whether any."""
    changed = False
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        return False  # whoever reads it says what is wrong
    for image in document["images"]:
        if isinstance(image, dict) and not image.get("file_name") and isinstance(image.get("coco_url"), str):
            image["file_name"] = image["coco_url"].rpartition("/")[2]
            changed = True
    if not untagged_are_verified:
        tags = [*document.get("annotations", ()), *document.get("image_tags", ())]
        tagged = {tag["image_id"] for tag in tags if "image_id" in tag}
        kept = [image for image in document["images"] if image.get("id") in tagged]
        changed = changed or len(kept) < len(document["images"])
        document["images"] = kept
    return changed


def _document(truth: Truth) -> dict[str, Any]:
    """Boxes that are fractions are so of an image of 1 x 1."""
    images = truth.images.to_pylist()
    number = {image["id"]: n for n, image in enumerate(images, start=1)}
    category = {name: n for n, name in enumerate(truth.concepts["concept_id"].to_pylist(), start=1)}
    boxed = set()
    annotations = []
    for row in truth.boxes.to_pylist() if truth.boxes else ():
        boxed.add((row["id"], row["concept_id"]))
        places = {"image_id": number[row["id"]], "category_id": category[row["concept_id"]]}
        annotations.append({**places, "bbox": row["bbox"], "iscrowd": int(bool(row["crowd"]))})
    tags = [
        {"image_id": number[row["id"]], "category_id": category[row["concept_id"]]}
        for row in truth.tags.to_pylist()
        if (row["id"], row["concept_id"]) not in boxed
    ]
    entries = []
    for image in images:
        sides = {side: 1 if truth.relative_boxes else image[side] for side in ("width", "height")}
        known = {side: value for side, value in sides.items() if value is not None}
        entries.append({"id": number[image["id"]], "file_name": image["name"], **known})
    return {
        "images": entries,
        "categories": [{"id": n, "name": name} for name, n in category.items()],
        "annotations": annotations,
        "image_tags": tags,
    }


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
