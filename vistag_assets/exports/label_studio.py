"""Label Studio: tasks with what vistag found as predictions, and the configuration of their labels."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from vistag_assets.exports.formats import LabelStudioOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.json_stream import BETWEEN, JsonElements, as_json
from vistag_assets.exports.records import ImageRecord, file_name
from vistag_assets.exports.xml_text import xml_text

_SCALE = 100
"""Of their coordinates: per cent of the picture."""


def write(job: Job) -> None:
    options: LabelStudioOptions = job.options  # type: ignore[assignment]
    for folder in job.changed_folders():
        boxes, tags = set[str](), set[str]()
        with job.section("tasks") as file:
            tasks = JsonElements(file)
            for image in job.images_of(folder):
                boxes.update(xml_text(region.tag.label) for region in image.regions)
                tags.update(xml_text(tag.label) for tag in image.tags)
                tasks.add(_task(image, options, job.workspace.tier.name))
        with job.section("labels") as file:
            file.write(as_json([sorted(boxes), sorted(tags)]))
    with job.stream("tasks.json") as file:
        file.write(b"[\n")
        job.join("tasks", file, BETWEEN)
        file.write(b"\n]\n")
    labels = [json.loads(section.read_bytes()) for section in job.sections("labels")]
    job.put("config.xml", config(*(sorted({name for of in labels for name in of[n]}) for n in (0, 1))))


def config(boxes: list[str], tags: list[str]) -> bytes:
    """The labelling interface: labels of boxes, and tags of the whole picture."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    labels = ElementTree.SubElement(view, "RectangleLabels", name="region", toName="image")
    for name in boxes:
        ElementTree.SubElement(labels, "Label", value=name)
    choices = ElementTree.SubElement(view, "Choices", name="tag", toName="image", choice="multiple")
    for name in tags:
        ElementTree.SubElement(choices, "Choice", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="utf-8") + b"\n"


def _address(root: str, path: str) -> str:
    """The path behind the root, as an address has it where the root is one: & and + of a name would end or change it."""
    return f"{root}{quote(path) if '://' in root or '?' in root else path}"


def _task(image: ImageRecord, options: LabelStudioOptions, tier: str) -> dict[str, Any]:
    sides = {"original_width": image.width, "original_height": image.height, "image_rotation": 0}
    result: list[dict[str, Any]] = []
    for region in image.regions:
        sizes = ("x", "y", "width", "height")
        box = {name: round(value * _SCALE, 4) for name, value in zip(sizes, region.box, strict=True)}
        result.append(
            {
                "id": region.region_id,
                "type": "rectanglelabels",
                "from_name": "region",
                "to_name": "image",
                **sides,
                "value": {**box, "rotation": 0, "rectanglelabels": [xml_text(region.tag.label)]},
                "score": round(region.score, 6),
            }
        )
    if image.tags:
        result.append(
            {
                "id": f"{image.id[:12]}-tags",
                "type": "choices",
                "from_name": "tag",
                "to_name": "image",
                "value": {"choices": [xml_text(tag.label) for tag in image.tags]},
            }
        )
    score = max((tag.probability for tag in image.tags), default=0.0)
    return {
        "data": {
            "image": _address(options.root, f"{image.library}/{file_name(image.path)}"),
            "vistag_id": image.id,
            "caption": image.caption,
        },
        "predictions": [{"model_version": f"vistag-{tier}", "score": round(score, 6), "result": result}],
    }
