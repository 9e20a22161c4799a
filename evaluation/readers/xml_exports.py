"""XML: a folder of Pascal VOC files (one an image), and CVAT's export "for images 1.1".

VOC: `<annotation><filename>`, `<size>`, `<object><name>`, `<bndbox><xmin>...`: corners as they are written; an object that is
`difficult` need not be found. CVAT: `<annotations><image name width height>` with `<box>`, `<polygon>` and `<tag>`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from evaluation.readers.annotated import Annotated, Box, Label, Size, around
from evaluation.readers.sheets import raw_content_of
from evaluation.readers.tables import UnusableFile, refuse
from taxonomy import TaxonomyError
from taxonomy.safe_xml import safe_xml

_CVAT_OUTLINES = ("polygon", "polyline", "points")
CVAT_SHAPES = ("tag", "box", "mask", *_CVAT_OUTLINES)


def recognises_voc(path: Path, head: str) -> bool:
    if path.is_dir():
        first = next(iter(_files(path)), None)
        return first is not None and "<annotation" in first.read_text(errors="replace")[:2000]
    return "<annotation>" in head and "<annotations" not in head


def recognises_cvat(path: Path, head: str) -> bool:
    return "<annotations" in head and head.lstrip()[:1] == "<"


def read_voc(path: Path) -> Annotated:
    """Raises UnusableFile that names the file of what is no annotation."""
    found, problems = Annotated(path), []
    for file in _files(path) if path.is_dir() else [path]:
        root = parsed_xml(file)
        image = (root.findtext("filename") or "").strip() or file.stem
        found.images[image] = _size_of(root.findtext("size/width"), root.findtext("size/height"))
        for number, thing in enumerate(root.iter("object"), start=1):
            corners = [_number(thing.findtext(f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")]
            x, y, right, bottom = (math.nan if edge is None else edge for edge in corners)
            name = (thing.findtext("name") or "").strip()
            if not (name and x <= right and y <= bottom):
                problems.append(
                    f"{file.name}, object {number}: has no name, or a bndbox that is none: {corners}"
                )
                continue
            difficult = (thing.findtext("difficult") or "0").strip() == "1"
            score = _number(thing.findtext("score") or thing.findtext("confidence"))
            found.labels.append(Label(image, name, (x, y, right - x, bottom - y), score, difficult))
    refuse(path, problems)
    return found


def read_cvat(path: Path) -> Annotated:
    """Raises UnusableFile that names the image of what is no annotation."""
    root = parsed_xml(path)
    found = Annotated(
        path, classes=[name for label in root.iter("label") if (name := label.findtext("name"))]
    )
    problems = []
    for image in root.iter("image"):
        name = image.get("name") or ""
        found.images[name] = _size_of(image.get("width"), image.get("height"))
        for shape in image:
            label = shape.get("label") or ""
            try:
                if shape.tag in CVAT_SHAPES:
                    found.labels.append(Label(name, label, box_of_shape(shape)))
            except (KeyError, ValueError) as error:
                problems.append(f"image {name!r}, {shape.tag} {label!r}: cannot be read ({error})")
    refuse(path, problems)
    return found


def box_of_shape(shape: ElementTree.Element) -> Box | None:
    """Where a shape of CVAT is, in pixels; None for a tag. Raises KeyError, ValueError."""
    if shape.tag == "box":
        x, y, right, bottom = (float(shape.attrib[edge]) for edge in ("xtl", "ytl", "xbr", "ybr"))
        return x, y, right - x, bottom - y
    if shape.tag == "mask":
        x, y, width, height = (float(shape.attrib[side]) for side in ("left", "top", "width", "height"))
        return x, y, width, height
    if shape.tag in _CVAT_OUTLINES:
        points = [tuple(map(float, point.split(","))) for point in shape.attrib["points"].split(";")]
        return around([(x, y) for x, y in points])
    return None


def _files(path: Path) -> Iterator[Path]:
    return iter(sorted(path.rglob("*.xml")))


def parsed_xml(file: Path) -> ElementTree.Element:
    """Raises UnusableFile for what is no XML."""
    try:
        return ElementTree.fromstring(safe_xml(file, raw_content_of(file)))
    except TaxonomyError as error:
        raise UnusableFile(str(error)) from error
    except ElementTree.ParseError as error:
        raise UnusableFile(f"{file}: cannot be read as XML: {error}") from error


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _size_of(width: str | None, height: str | None) -> Size | None:
    sides = _number(width), _number(height)
    return (sides[0], sides[1]) if sides[0] and sides[1] else None
