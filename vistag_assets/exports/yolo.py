"""YOLO's data sets: a text file an image, with boxes or outlines of classes that are counted from 0."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from vistag_assets.exports.formats import YoloOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.pictures import beside, picture_name, put_picture
from vistag_assets.exports.records import Region
from vistag_assets.exports.shapes import polygons


def write(job: Job) -> None:
    options: YoloOptions = job.options  # type: ignore[assignment]
    found = {
        region.tag.concept.id
        for folder in job.folders()
        for image in folder
        for region in image.regions
        if region.tag.concept
    }
    concepts = [concept for concept in job.workspace.taxonomy.concepts if concept.id in found]
    classes = {concept.id: number for number, concept in enumerate(concepts)}
    for image in job.images():
        name = picture_name(image)
        if options.pictures and not put_picture(job, image, "images/"):
            continue
        lines = [
            line for region in image.regions for line in _lines(region, classes, outlines=options.outlines)
        ]
        job.put(f"labels/{beside(name, '.txt')}", "".join(f"{line}\n" for line in lines).encode())
    described = {
        "train": "images",
        "val": "images",
        "names": {number: concept.pref_label for number, concept in enumerate(concepts)},
    }
    job.put("data.yaml", yaml.safe_dump(described, allow_unicode=True, sort_keys=False).encode())


def _lines(region: Region, classes: Mapping[str, int], *, outlines: bool) -> list[str]:
    """Class and centre, width, height; or class and the corners of each piece. Relative to the picture."""
    if region.tag.concept is None:
        return []
    number = classes[region.tag.concept.id]
    x, y, w, h = region.box
    if not outlines:
        shapes = [[x + w / 2, y + h / 2, w, h]]
    else:
        pieces = polygons(region.mask) if region.mask else []
        corners = pieces or [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)]]
        shapes = [[value for corner in piece for value in corner] for piece in corners]
    return [" ".join([str(number), *(f"{min(max(v, 0), 1):.6f}" for v in shape)]) for shape in shapes]
