"""The annotations of vistag's own corpus, by file name and with masks; `readers.coco` reads the file.

Annotations of one thing (a bowl that is of bronze) share an `instance_id`; by default each is a thing of its
own. `info.split`, a name or a list, says which split of which data the images are of (evaluation/held_out.py).
A `segmentation` is a COCO RLE or a list of polygons, in pixels; without it there is a box and no mask.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import FiniteFloat, ValidationError

from evaluation.readers.coco import (
    Document,
    Entry,
    Id,
    Image,
    MaskedAnnotation,
    Name,
    Polygon,
    Rle,
    Side,
    box_of,
    read_document,
)
from evaluation.readers.plausibility import refuse_corners
from evaluation.readers.sheets import content_of
from evaluation.readers.tables import UnusableFile, refuse

KEYWORDS = "keywords of files"
"""The `source` in the `info` of a ground truth that was made of them: what it does not name is unknown, not absent."""
SIGNS = pa.schema([("file_name", pa.string()), ("text", pa.string()), ("bbox", pa.list_(pa.float32(), 4))])

TRUE_REGIONS = pa.schema(
    [
        ("file_name", pa.string()),
        ("concept_id", pa.string()),
        ("instance_id", pa.string()),
        ("bbox", pa.list_(pa.float64(), 4)),  # xywh in pixels of the annotated image
        ("image_width", pa.float64()),  # of the annotated image; null where the file does not say it
        ("image_height", pa.float64()),
        ("height", pa.int32()),  # of the mask, pixels; null without mask
        ("width", pa.int32()),
        ("counts", pa.string()),  # COCO compressed RLE; null without mask
    ]
)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What a file of annotations says, by file name; whoever knows the image ids joins them on."""

    images: pa.Table  # file_name: every annotated image, also those that carry no tag
    truth: pa.Table  # file_name, concept_id: one row a true tag, sorted, no repetitions
    concepts: pa.Table  # concept_id: the evaluated vocabulary, also what no image carries, sorted
    regions: pa.Table  # TRUE_REGIONS: one row an annotation, as they come
    splits: tuple[str, ...] = ()  # where the images come from; empty where the file does not say
    of_keywords: bool = False  # they name what is there, and nobody looked for the rest


def read_ground_truth(path: Path) -> GroundTruth:
    """Read and check a file of LVIS- or COCO-style annotations.

    Raises:
        UnusableFile: as `readers.coco.read_document` does; an image has no file name; a mask does not fit its
            image.
    """
    document = read_document(path, Document[MaskedAnnotation])
    refuse(path, _problems(document))
    images = {image.id: image for image in document.images}
    of_annotation = [images[annotation.image_id] for annotation in document.annotations]
    boxes = np.array([box_of(annotation) for annotation in document.annotations]).reshape(-1, 4)
    sides = np.array([(image.width, image.height) * 2 for image in of_annotation], np.float64).reshape(-1, 4)
    refuse_corners(path, boxes, sides)
    file_name = {image.id: image.name for image in document.images}
    concept = {category.id: category.concept for category in document.categories}
    pairs = sorted(
        {
            (file_name[tag.image_id], concept[tag.category_id])
            for tag in (*document.annotations, *document.image_tags)
        }
    )
    return GroundTruth(
        images=_column("file_name", sorted(set(file_name.values()))),
        truth=pa.table(
            {
                "file_name": pa.array([name for name, _ in pairs], pa.string()),
                "concept_id": pa.array([concept_id for _, concept_id in pairs], pa.string()),
            }
        ),
        concepts=_column("concept_id", sorted({c for c in concept.values() if c is not None})),
        regions=_regions(document, concept),
        splits=_splits(document.info),
        of_keywords=isinstance(document.info, dict) and document.info.get("source") == KEYWORDS,
    )


def read_signs(path: Path) -> pa.Table:
    """The signs of a file of annotations as SIGNS: its key `texts`, boxes relative to the image.

    ```
    {"images": [{"id": 8, "file_name": "a/b.jpg", "width": 1024, "height": 768}],
     "texts":  [{"image_id": 8, "bbox": [x, y, width, height], "text": "GALLERY 60"}]}
    ```
    Empty where there is no such key. Raises UnusableFile for a file or a sign that is not of this shape.
    """
    try:
        document = _Signs.model_validate_json(content_of(path))
    except (OSError, ValidationError) as error:
        raise UnusableFile(f"{path}: no signs can be read from it: {error}") from error
    images = {image.id: image for image in document.images}
    unknown = sorted({str(sign.image_id) for sign in document.texts if sign.image_id not in images})
    if unknown:
        raise UnusableFile(f"{path}: texts name images that are not in it: {', '.join(unknown[:5])}")
    rows = []
    for sign in document.texts:
        image = images[sign.image_id]
        x, y, width, height = sign.bbox
        if not (image.file_name and image.width and image.height):
            raise UnusableFile(
                f"{path}: texts name the image {image.id!r}, which has no file_name, width and height"
            )
        relative = (x / image.width, y / image.height, width / image.width, height / image.height)
        rows.append({"file_name": image.file_name, "text": sign.text, "bbox": relative})
    return pa.Table.from_pylist(rows, SIGNS)


class _SizedImage(Entry):
    id: Id
    file_name: Name | None = None
    width: Side | None = None
    height: Side | None = None


class _Sign(Entry):
    image_id: Id
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    text: str


class _Signs(Entry):
    images: list[_SizedImage]
    texts: tuple[_Sign, ...] = ()


def _splits(info: Any) -> tuple[str, ...]:
    split = info.get("split", []) if isinstance(info, dict) else []
    return tuple(map(str, split if isinstance(split, list) else [split]))


def _regions(
    document: Document[MaskedAnnotation], concept: Mapping[int | str | float, str | None]
) -> pa.Table:
    images = {image.id: image for image in document.images}
    rows: list[dict[str, Any]] = []
    for number, annotation in enumerate(document.annotations):
        image = images[annotation.image_id]
        instance = annotation.instance_id
        rows.append(
            {
                "file_name": image.name,
                "concept_id": concept[annotation.category_id],
                "instance_id": f"annotation-{number}" if instance is None else str(instance),
                "bbox": box_of(annotation),
                "image_width": image.width,
                "image_height": image.height,
                **_mask(annotation.segmentation, image),
            }
        )
    return pa.Table.from_pylist(rows, schema=TRUE_REGIONS)


def _mask(segmentation: Rle | list[Polygon] | None, image: Image) -> dict[str, Any]:
    """Height, width and counts as COCO's compressed RLE; nothing without a mask."""
    if segmentation is None or (isinstance(segmentation, list) and not segmentation):
        return {}
    if isinstance(segmentation, Rle) and isinstance(segmentation.counts, str):
        (height, width), counts = segmentation.size, segmentation.counts
    else:
        from pycocotools import mask as coco

        if isinstance(segmentation, Rle):
            (height, width), given = segmentation.size, segmentation.model_dump()
            rle = coco.frPyObjects(given, height, width)
        else:
            # _problems asked for both
            height, width = round(image.height or 0), round(image.width or 0)
            rle = coco.merge(coco.frPyObjects(segmentation, height, width))
        counts = rle["counts"].decode("ascii")
    return {"height": height, "width": width, "counts": counts}


def _problems(document: Document[MaskedAnnotation]) -> Iterator[str]:
    images = {image.id: image for image in document.images}
    for i, image in enumerate(document.images):
        if image.file_name is None:
            yield f"images[{i}].file_name: Field required"
    for i, annotation in enumerate(document.annotations):
        place = f"annotations[{i}].segmentation"
        yield from _mask_problems(place, annotation.segmentation, images[annotation.image_id])


def _mask_problems(place: str, segmentation: Rle | list[Polygon] | None, image: Image) -> Iterator[str]:
    if segmentation is None:
        return
    sides = None if image.height is None or image.width is None else (image.height, image.width)
    if isinstance(segmentation, list):
        if sides is None:
            yield f"{place}: polygons need the width and height of their image"
    elif sides is not None and segmentation.size != sides:
        yield (
            f"{place}.size: {list(segmentation.size)} is not the [height, width] of its image, {list(sides)}"
        )


def _column(name: str, values: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string())})
