"""Pascal VOC: an XML file an image."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree

from vistag_assets.exports.formats import VocOptions
from vistag_assets.exports.job import Job
from vistag_assets.exports.pictures import beside, picture_name, put_picture
from vistag_assets.exports.records import Box, ImageRecord
from vistag_assets.exports.xml_text import xml_text


def write(job: Job) -> None:
    options: VocOptions = job.options  # type: ignore[assignment]
    for folder in job.changed_folders():
        for image in job.images_of(folder):
            name = picture_name(image)
            if options.pictures and not put_picture(job, image, "JPEGImages/"):
                continue
            job.put(f"Annotations/{beside(name, '.xml')}", _annotation(image, name))


def _annotation(image: ImageRecord, name: str) -> bytes:
    """Sizes and boxes are those of the picture beside it, the working copy."""
    sides = (image.proxy.width, image.proxy.height) if image.proxy else (image.width, image.height)
    root = ElementTree.Element("annotation")
    _add(root, "folder", str(PurePosixPath("JPEGImages", name).parent))
    _add(root, "filename", PurePosixPath(name).name)
    _add(ElementTree.SubElement(root, "source"), "database", "vistag")
    size = ElementTree.SubElement(root, "size")
    for part, value in zip(("width", "height", "depth"), (*sides, 3), strict=True):
        _add(size, part, str(value))
    _add(root, "segmented", "0")
    for region in image.regions:
        found = ElementTree.SubElement(root, "object")
        _add(found, "name", region.tag.label)
        _add(found, "pose", "Unspecified")
        _add(found, "truncated", "0")
        _add(found, "difficult", "0")
        box = ElementTree.SubElement(found, "bndbox")
        for part, pixel in zip(("xmin", "ymin", "xmax", "ymax"), _corners(region.box, *sides), strict=True):
            _add(box, part, str(pixel))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _corners(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The first and the last pixel of a box, counted from 1 as VOC counts them."""
    x, y, w, h = box
    left, top = round(x * width) + 1, round(y * height) + 1
    return left, top, max(left, round((x + w) * width)), max(top, round((y + h) * height))


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = xml_text(text)
