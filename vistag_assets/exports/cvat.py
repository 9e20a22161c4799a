"""CVAT for images 1.1: one XML file of boxes, outlines and tags."""

from __future__ import annotations

import tempfile
from xml.etree import ElementTree

from vistag_assets.exports.formats import CvatOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.records import ImageRecord, file_name
from vistag_assets.exports.shapes import in_pixels, polygons
from vistag_assets.exports.xml_text import xml_text

_IN_MEMORY = 16 * 1024 * 1024


def write(job: Job) -> None:
    """Labels stand before the images that they are found on, so those wait in a file."""
    options: CvatOptions = job.options  # type: ignore[assignment]
    labels, number = set[str](), 0
    with job.stream("annotations.xml") as file, tempfile.SpooledTemporaryFile(_IN_MEMORY) as images:
        for image in job.images():
            labels |= {tag.label for tag in image.tags} | {region.tag.label for region in image.regions}
            images.write(_element(image, number, options.root) + b"\n")
            number += 1
        meta = ElementTree.Element("meta")
        task = ElementTree.SubElement(meta, "task")
        ElementTree.SubElement(task, "name").text = "vistag"
        ElementTree.SubElement(task, "size").text = str(number)
        listed = ElementTree.SubElement(task, "labels")
        for name in sorted(labels):
            ElementTree.SubElement(ElementTree.SubElement(listed, "label"), "name").text = xml_text(name)
        file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(ElementTree.tostring(meta, encoding="utf-8") + b"\n")
        images.seek(0)
        while chunk := images.read(1 << 20):
            file.write(chunk)
        file.write(b"</annotations>\n")


def _element(image: ImageRecord, number: int, root: str) -> bytes:
    name = xml_text(f"{root}{image.library}/{file_name(image.path)}")
    sides = {"width": str(image.width), "height": str(image.height)}
    element = ElementTree.Element("image", {"id": str(number), "name": name, **sides})
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
