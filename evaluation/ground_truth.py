"""Reads LVIS- and COCO-style annotations into Arrow tables.

```
{"images":      [{"id": 1, "file_name": "chairs/0001.jpg", "width": 640, "height": 480}],
 "categories":  [{"id": 7, "name": "armchair", "concept_id": "object/armchair"}],
 "annotations": [{"image_id": 1, "category_id": 7, "bbox": [x, y, width, height],
                  "instance_id": 3, "segmentation": {"size": [480, 640], "counts": "..."}}],
 "image_tags":  [{"image_id": 1, "category_id": 9}]}
```
`image_tags` is for what has no region (a setting, the lighting). The concept id of a category is its
`concept_id`, else its `name`. Annotations of one thing (a bowl that is of bronze) share an `instance_id`; by
default each is a thing of its own. `info.split`, a name or a list, says which split of which data the images are
of (evaluation/held_out.py). A `segmentation` is a COCO RLE or a list of polygons, in pixels; without it
there is a box and no mask. Other keys (`frequency`, `image_count`, ...) may be there and are not read: bands
are counted on the annotations themselves.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    StrictInt,
    StrictStr,
    ValidationError,
)

_SHOWN_PROBLEMS = 20
# Tools round boxes outwards; more than a pixel beyond the image is a mistake, mostly corners given as sizes.
_EDGE_TOLERANCE_PX = 1.0

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

Id = StrictInt | StrictStr
Name = Annotated[StrictStr, Field(min_length=1)]
Side = Annotated[FiniteFloat, Field(gt=0)]


class GroundTruthError(ValueError):
    """The annotations cannot be used; the message names the file and each entry and field at fault."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Image(_Entry):
    id: Id
    file_name: Name
    width: Side | None = None
    height: Side | None = None


class _Category(_Entry):
    id: Id
    name: Name | None = None
    concept_id: Name | None = None

    @property
    def concept(self) -> str | None:
        return self.concept_id or self.name


class _ImageTag(_Entry):
    image_id: Id
    category_id: Id


class _Rle(_Entry):
    size: tuple[PositiveInt, PositiveInt]
    counts: StrictStr | list[NonNegativeInt]


Polygon = Annotated[list[FiniteFloat], Field(min_length=6)]


class _Annotation(_ImageTag):
    bbox: tuple[FiniteFloat, FiniteFloat, Side, Side]
    instance_id: Id | None = None
    segmentation: _Rle | list[Polygon] | None = None


class _Document(_Entry):
    info: Any = None
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]
    image_tags: list[_ImageTag] = []


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What a file of annotations says, by file name; whoever knows the image ids joins them on."""

    images: pa.Table  # file_name: every annotated image, also those that carry no tag
    truth: pa.Table  # file_name, concept_id: one row a true tag, sorted, no repetitions
    concepts: pa.Table  # concept_id: the evaluated vocabulary, also what no image carries, sorted
    regions: pa.Table  # TRUE_REGIONS: one row an annotation, as they come
    splits: tuple[str, ...] = ()  # where the images come from; empty where the file does not say


def read_ground_truth(path: Path) -> GroundTruth:
    """Read and check a file of LVIS- or COCO-style annotations.

    Raises:
        GroundTruthError: the file is missing, is not JSON or not of this shape; an id, file name or concept
            is given twice; an annotation names an unknown image or category; a box is not `x, y, width,
            height` in pixels within its image.
    """
    document = _parse(path)
    problems = list(_problems(document))
    if problems:
        raise _error(path, problems)
    file_name = {image.id: image.file_name for image in document.images}
    concept = {category.id: category.concept for category in document.categories}
    pairs = sorted(
        {
            (file_name[tag.image_id], concept[tag.category_id])
            for tag in (*document.annotations, *document.image_tags)
        }
    )
    return GroundTruth(
        images=_column("file_name", sorted(file_name.values())),
        truth=pa.table(
            {
                "file_name": pa.array([name for name, _ in pairs], pa.string()),
                "concept_id": pa.array([concept_id for _, concept_id in pairs], pa.string()),
            }
        ),
        concepts=_column("concept_id", sorted(c for c in concept.values() if c is not None)),
        regions=_regions(document, concept),
        splits=_splits(document.info),
    )


def _splits(info: Any) -> tuple[str, ...]:
    split = info.get("split", []) if isinstance(info, dict) else []
    return tuple(map(str, split if isinstance(split, list) else [split]))


def _regions(document: _Document, concept: Mapping[int | str, str | None]) -> pa.Table:
    images = {image.id: image for image in document.images}
    rows: list[dict[str, Any]] = []
    for number, annotation in enumerate(document.annotations):
        image = images[annotation.image_id]
        instance = annotation.instance_id
        rows.append(
            {
                "file_name": image.file_name,
                "concept_id": concept[annotation.category_id],
                "instance_id": f"annotation-{number}" if instance is None else str(instance),
                "bbox": annotation.bbox,
                "image_width": image.width,
                "image_height": image.height,
                **_mask(annotation.segmentation, image),
            }
        )
    return pa.Table.from_pylist(rows, schema=TRUE_REGIONS)


def _mask(segmentation: _Rle | list[Polygon] | None, image: _Image) -> dict[str, Any]:
    """Height, width and counts as COCO's compressed RLE; nothing without a mask."""
    if segmentation is None or (isinstance(segmentation, list) and not segmentation):
        return {}
    if isinstance(segmentation, _Rle) and isinstance(segmentation.counts, str):
        (height, width), counts = segmentation.size, segmentation.counts
    else:
        from pycocotools import mask as coco

        if isinstance(segmentation, _Rle):
            (height, width), given = segmentation.size, segmentation.model_dump()
            rle = coco.frPyObjects(given, height, width)
        else:
            # _problems asked for both
            height, width = round(image.height or 0), round(image.width or 0)
            rle = coco.merge(coco.frPyObjects(segmentation, height, width))
        counts = rle["counts"].decode("ascii")
    return {"height": height, "width": width, "counts": counts}


def _parse(path: Path) -> _Document:
    try:
        return _Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GroundTruthError(
            f"{path}: cannot be read ({error.strerror}); give a JSON file of annotations"
        ) from error
    except ValidationError as error:
        problems = [f"{_place(e['loc'])}: {e['msg']}, found {_shorten(e['input'])}" for e in error.errors()]
        raise _error(path, list(dict.fromkeys(problems))) from error


def _problems(document: _Document) -> Iterator[str]:
    yield from _repeated("images", "id", (image.id for image in document.images))
    yield from _repeated("images", "file_name", (image.file_name for image in document.images))
    yield from _repeated("categories", "id", (category.id for category in document.categories))
    yield from _repeated("categories", "concept_id (or name)", (c.concept for c in document.categories))
    for i, category in enumerate(document.categories):
        if category.concept is None:
            yield f"categories[{i}]: has neither a concept_id nor a name"

    images = {image.id: image for image in document.images}
    categories = {category.id for category in document.categories}
    tagged: tuple[tuple[str, list[_ImageTag]], ...] = (
        ("annotations", [*document.annotations]),
        ("image_tags", document.image_tags),
    )
    for table, entries in tagged:
        for i, entry in enumerate(entries):
            if entry.image_id not in images:
                yield f"{table}[{i}].image_id: {entry.image_id!r} is no id of images"
            if entry.category_id not in categories:
                yield f"{table}[{i}].category_id: {entry.category_id!r} is no id of categories"
    for i, annotation in enumerate(document.annotations):
        image = images.get(annotation.image_id)
        yield from _mask_problems(f"annotations[{i}].segmentation", annotation.segmentation, image)
        if image is not None and not _within(annotation, image):
            yield (
                f"annotations[{i}].bbox: {list(annotation.bbox)} reaches beyond its image of "
                f"{image.width} x {image.height} pixels; are these corners instead of x, y, width, height?"
            )


def _mask_problems(
    place: str, segmentation: _Rle | list[Polygon] | None, image: _Image | None
) -> Iterator[str]:
    if segmentation is None or image is None:
        return
    sides = None if image.height is None or image.width is None else (image.height, image.width)
    if isinstance(segmentation, list):
        if sides is None:
            yield f"{place}: polygons need the width and height of their image"
    elif sides is not None and segmentation.size != sides:
        yield (
            f"{place}.size: {list(segmentation.size)} is not the [height, width] of its image, {list(sides)}"
        )


def _within(annotation: _Annotation, image: _Image) -> bool:
    if image.width is None or image.height is None:
        return True
    x, y, width, height = annotation.bbox
    return (
        min(x, y) >= -_EDGE_TOLERANCE_PX
        and x + width <= image.width + _EDGE_TOLERANCE_PX
        and y + height <= image.height + _EDGE_TOLERANCE_PX
    )


def _repeated(table: str, field: str, values: Iterable[object]) -> Iterator[str]:
    for value, count in Counter(value for value in values if value is not None).items():
        if count > 1:
            yield f"{table}.{field}: {value!r} is given {count} times; each must be given once"


def _place(location: tuple[int | str, ...]) -> str:
    """`('annotations', 17, 'bbox', 2)` -> `annotations[17].bbox[2]`; the branch of a union is left out."""
    steps = [step for step in location if step not in ("int", "str", "constrained-str")]
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".") or "document"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _error(path: Path, problems: list[str]) -> GroundTruthError:
    rest = len(problems) - _SHOWN_PROBLEMS
    lines = problems[:_SHOWN_PROBLEMS] + ([f"and {rest} more"] if rest > 0 else [])
    return GroundTruthError("\n  ".join([f"{path}: these annotations cannot be used:", *lines]))


def _column(name: str, values: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string())})
