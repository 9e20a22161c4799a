"""CVAT for images 1.1: one XML file of boxes, outlines and tags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

from vistag_assets.exports.formats import CvatOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.json_stream import as_json
from vistag_assets.exports.records import ImageRecord, file_name
from vistag_assets.exports.shapes import in_pixels, polygons
from vistag_assets.exports.xml_text import xml_text


def write(job: Job) -> None:
    options: CvatOptions = job.options  # type: ignore[assignment]
    for folder in job.changed_folders():
        labels = set[str]()
        with job.section("images") as file:
            for image in job.images_of(folder):
                labels |= {tag.label for tag in image.tags} | {region.tag.label for region in image.regions}
                file.write(_element(image, options.root) + b"\n")
        with job.section("labels") as file:
            file.write(as_json(sorted(labels)))
    with job.stream("annotations.xml") as file:
        file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(ElementTree.tostring(_meta(job), encoding="utf-8") + b"\n")
        for number, line in enumerate(_lines(job)):
            file.write(b'<image id="%d"' % number + line.removeprefix(b"<image"))
        file.write(b"</annotations>\n")


def _meta(job: Job) -> ElementTree.Element:
    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    ElementTree.SubElement(task, "name").text = "vistag"
    ElementTree.SubElement(task, "size").text = str(sum(1 for _ in _lines(job)))
    listed = ElementTree.SubElement(task, "labels")
    for name in sorted(
        {name for section in job.sections("labels") for name in json.loads(section.read_bytes())}
    ):
        ElementTree.SubElement(ElementTree.SubElement(listed, "label"), "name").text = xml_text(name)
    return meta


def _lines(job: Job) -> Iterator[bytes]:
    """The images of all folders, an element a line: line breaks in names are escaped."""
    for section in job.sections("images"):
        with section.open("rb") as file:
            yield from file


def _element(image: ImageRecord, root: str) -> bytes:
    name = xml_text(f"{root}{image.library}/{file_name(image.path)}")
    sides = {"width": str(image.width), "height": str(image.height)}
    element = ElementTree.Element("image", {"name": name, **sides})
    common = {"source": "auto", "occluded": "0", "z_order": "0"}
    for region in image.regions:
        label = xml_text(region.tag.label)
        pieces = polygons(region.mask) if region.mask else []
        for piece in pieces:
            points = ";".join(f"{x * image.width:.2f},{y * image.height:.2f}" for x, y in piece)
            ElementTree.SubElement(element, "polygon", {"label": label, "points": points, **common})
        if not pieces:
            x, y, w, h = in_pixels(region.box, image)
            corners = {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}
            texts = {key: f"{value:.2f}" for key, value in corners.items()}
            ElementTree.SubElement(element, "box", {"label": label, **texts, **common})
    for tag in image.tags:
        ElementTree.SubElement(element, "tag", label=xml_text(tag.label), source="auto")
    return ElementTree.tostring(element, encoding="utf-8")
