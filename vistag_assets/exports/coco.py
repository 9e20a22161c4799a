"""COCO's and LVIS's JSON: images, categories, boxes and masks; and COCO's results with scores."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from taxonomy import Concept
from taxonomy.skos_writer import iri_of
from vistag_assets.exports.formats import CocoOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.json_stream import BETWEEN, JsonElements, as_json
from vistag_assets.exports.records import FolderRecords, ImageRecord, Region, file_name
from vistag_assets.exports.shapes import full_size_rle, in_pixels, polygons

MASKS = ("rle", "polygon", "none")
_LVIS_RARE, _LVIS_COMMON = 10, 100
"""Images at most that carry a rare and a common category: LVIS, Gupta et al. 2019, section 4."""
_ID_DIGITS = 13
"""Of 52 bits: JSON's numbers are exact to 53."""


def write_coco(job: Job) -> None:
    _write(job, lvis=False)


def write_lvis(job: Job) -> None:
    _write(job, lvis=True)


def image_id(image: ImageRecord) -> int:
    """The same whatever else is exported: of library and path."""
    return _id_of(image.name)


def _id_of(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:_ID_DIGITS], 16)


def category_ids(job: Job) -> Mapping[str, int]:
    """Concept -> its number in the vocabulary, from 1."""
    return {concept.id: n for n, concept in enumerate(job.workspace.taxonomy.concepts, start=1)}


def _write(job: Job, *, lvis: bool) -> None:
    options: CocoOptions = job.options  # type: ignore[assignment]
    if options.masks not in MASKS:
        raise ExportError(f"masks is {options.masks!r}: give one of {', '.join(MASKS)}")
    ids = category_ids(job)
    for folder in job.changed_folders():
        _write_folder(job, folder, ids, options, lvis=lvis)
    in_images, instances = Counter[str](), Counter[str]()
    for section in job.sections("counts"):
        counted = json.loads(section.read_bytes())
        in_images.update(counted["images"])
        instances.update(counted["instances"])
    with job.stream("annotations.json") as file:
        file.write(b'{"info": ' + as_json(_info(job)) + b',\n"licenses": [],\n"images": [\n')
        job.join("images", file, BETWEEN)
        file.write(b'\n],\n"annotations": [\n')
        job.join("annotations", file, BETWEEN)
        categories = [
            _category(concept, ids, in_images, instances, lvis=lvis)
            for concept in job.workspace.taxonomy.concepts
            if in_images[concept.id]
        ]
        file.write(b'\n],\n"categories": ' + as_json(categories) + b"\n}\n")
    with job.stream("results.json") as file:
        file.write(b"[\n")
        job.join("results", file, BETWEEN)
        file.write(b"\n]\n")


def _write_folder(
    job: Job, folder: FolderRecords, ids: Mapping[str, int], options: CocoOptions, *, lvis: bool
) -> None:
    in_images, instances = Counter[str](), Counter[str]()
    with (
        job.section("images") as of_images,
        job.section("annotations") as boxes,
        job.section("results") as results,
    ):
        images, annotations, scores = JsonElements(of_images), JsonElements(boxes), JsonElements(results)
        for image in job.images_of(folder):
            images.add(_image(image, ids, options, lvis=lvis))
            regions = [region for region in image.regions if region.tag.concept]
            in_images.update({*_found(regions), *(tag.concept.id for tag in image.tags if tag.concept)})
            instances.update(_found(regions))
            for region, concept in zip(regions, _found(regions), strict=True):
                found = _annotation(image, region, ids[concept], options)
                numbered = {"id": _id_of(f"{image.name} {region.region_id}"), **found}
                annotations.add(numbered if lvis else {**numbered, "iscrowd": 0})
                scores.add(
                    {k: v for k, v in found.items() if k != "area"} | {"score": round(region.score, 6)}
                )
    with job.section("counts") as counts:
        counts.write(as_json({"images": in_images, "instances": instances}))


def _found(regions: list[Region]) -> list[str]:
    return [region.tag.concept.id for region in regions if region.tag.concept]


def _info(job: Job) -> dict[str, Any]:
    return {
        "description": "exported by vistag",
        "version": "1.0",
        "contributor": f"vistag, tier {job.workspace.tier.name}, vocabulary {job.workspace.taxonomy.fingerprint}",
    }


def _image(image: ImageRecord, ids: Mapping[str, int], options: CocoOptions, *, lvis: bool) -> dict[str, Any]:
    name = f"{options.root}{image.library}/{file_name(image.path)}"
    found: dict[str, Any] = {
        "id": image_id(image),
        "file_name": name,
        "width": image.width,
        "height": image.height,
        **({"date_captured": image.taken_at.isoformat(" ")} if image.taken_at else {}),
        "vistag_id": image.id,
        "tags": [ids[tag.concept.id] for tag in image.tags if tag.concept],
        "caption": image.caption,
    }
    if not lvis:
        return found
    tagged = {tag.concept.id for tag in image.tags if tag.concept}
    return found | {
        "coco_url": name,
        "neg_category_ids": [ids[concept.id] for concept in image.rejected],
        # no model finds each instance, and nobody has looked for more
        "not_exhaustive_category_ids": sorted(ids[id_] for id_ in tagged),
    }


def _annotation(image: ImageRecord, region: Region, category: int, options: CocoOptions) -> dict[str, Any]:
    box = in_pixels(region.box, image)
    found: dict[str, Any] = {"image_id": image_id(image), "category_id": category, "bbox": box}
    found["area"] = round(box[2] * box[3], 2)
    x, y, w, h = box
    # what has no mask is outlined by its box: LVIS's reader wants a segmentation of each
    found["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if region.mask is None or options.masks == "none":
        return found
    if options.masks == "rle":
        from pycocotools import mask as coco

        found["segmentation"] = full_size_rle(region.mask, image.width, image.height)
        found["area"] = int(coco.area(found["segmentation"]))
    elif outlines := polygons(region.mask):
        sides = (image.width, image.height)
        found["segmentation"] = [
            [round(v * side, 2) for point in outline for v, side in zip(point, sides, strict=True)]
            for outline in outlines
        ]
        found["area"] = round(sum(map(_area, found["segmentation"])), 2)
    return found


def _area(outline: list[float]) -> float:
    """Of a polygon x, y, x, y, ...: the shoelace formula."""
    xs, ys = outline[::2], outline[1::2]
    return abs(sum(xs[n - 1] * ys[n] - xs[n] * ys[n - 1] for n in range(len(xs)))) / 2


def _category(
    concept: Concept, ids: Mapping[str, int], images: Counter[str], instances: Counter[str], *, lvis: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": ids[concept.id],
        "name": concept.pref_label,
        "supercategory": concept.facet,
        "concept_id": concept.id,
        "uri": iri_of(concept),
    }
    if not lvis:
        return found
    count = images[concept.id]
    return found | {
        "synonyms": list(concept.labels),
        "synset": concept.id,
        "def": concept.definition,
        "image_count": count,
        "instance_count": instances[concept.id],
        "frequency": "r" if count <= _LVIS_RARE else "c" if count <= _LVIS_COMMON else "f",
    }
