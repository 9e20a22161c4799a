"""COCO and LVIS: annotations as one JSON object, results as a JSON list.

```
{"images":      [{"id": 1, "file_name": "chairs/0001.jpg", "width": 640, "height": 480,
                  "neg_category_ids": [8], "not_exhaustive_category_ids": [7]}],
 "categories":  [{"id": 7, "name": "armchair", "concept_id": "object/armchair", "frequency": "r"}],
 "annotations": [{"image_id": 1, "category_id": 7, "bbox": [x, y, width, height], "iscrowd": 0,
                  "instance_id": 3, "segmentation": {"size": [480, 640], "counts": "..."}}],
 "image_tags":  [{"image_id": 1, "category_id": 9}]}

[{"image_id": 1, "category_id": 7, "bbox": [x, y, width, height], "score": 0.9}]
```
`image_tags` is for what has no region (a setting, the lighting). The concept id of a category is its
`concept_id`, else its `name`. LVIS writes no `file_name`; the end of `coco_url` is taken. Other keys may be
there and are not read.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import duckdb
import numpy as np
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

from evaluation.readers.tables import (
    CONCEPTS,
    IMAGES,
    PAIRS,
    PREDICTED_BOXES,
    TRUE_BOXES,
    Origin,
    Predictions,
    Rows,
    Truth,
    UnusableFile,
    field_of,
    refuse,
    table_of,
)
from evaluation.readers.values import box_lists, boxes, numbers

# Tools round boxes outwards; more than a pixel beyond the image is a mistake, mostly corners given as sizes.
_EDGE_TOLERANCE_PX = 1.0
_POLYGONS = re.compile(rb'("segmentation"\s*:\s*)\[[\[\]\s\d.,eE+-]*\]')
_LVIS_BANDS = {"r": "rare", "c": "common", "f": "frequent"}

# JSON columns keep the text of each value: 1 and "1" stay different ids, and what is no number can be shown.
_RESULTS = """
select row_number() over () - 1 as row, image_id::varchar as image, category_id::varchar as concept,
       score::varchar as score, bbox::varchar as bbox
from read_json($path, format = 'array', maximum_object_size = 67108864,
               columns = {image_id: 'JSON', category_id: 'JSON', bbox: 'JSON', score: 'JSON'})
"""

Id = StrictInt | StrictStr
Name = Annotated[StrictStr, Field(min_length=1)]
Side = Annotated[FiniteFloat, Field(gt=0)]
Length = Annotated[FiniteFloat, Field(ge=0)]


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Image(Entry):
    id: Id
    file_name: Name | None = None
    coco_url: Name | None = None
    width: Side | None = None
    height: Side | None = None
    neg_category_ids: list[Id] | None = None
    not_exhaustive_category_ids: list[Id] | None = None

    @property
    def name(self) -> str:
        return self.file_name or (self.coco_url or "").rpartition("/")[2] or str(self.id)


class Category(Entry):
    id: Id
    name: Name | None = None
    concept_id: Name | None = None
    frequency: Literal["r", "c", "f"] | None = None

    @property
    def concept(self) -> str | None:
        return self.concept_id or self.name


class ImageTag(Entry):
    image_id: Id
    category_id: Id


class Rle(Entry):
    size: tuple[PositiveInt, PositiveInt]
    counts: StrictStr | list[NonNegativeInt]


Polygon = Annotated[list[FiniteFloat], Field(min_length=6)]


class Annotation(ImageTag):
    bbox: tuple[FiniteFloat, FiniteFloat, Length, Length]
    iscrowd: bool = False


class MaskedAnnotation(Annotation):
    instance_id: Id | None = None
    segmentation: Rle | list[Polygon] | None = None


A = TypeVar("A", bound=Annotation)


class Document(Entry, Generic[A]):
    info: Any = None
    images: list[Image]
    categories: list[Category]
    annotations: list[A]
    image_tags: list[ImageTag] = []


def read_document(path: Path, kind: type[Document[A]], polygons: bool = True) -> Document[A]:
    """Read and check one JSON object of annotations.

    Without `polygons` their points are cut out of the text before it is parsed: nine tenths of an LVIS file.

    Raises:
        UnusableFile: the file is missing, is not JSON or not of this shape; an id, file name or concept is
            given twice; an annotation names an unknown image or category; a box is not `x, y, width, height`
            in pixels within its image.
    """
    try:
        text = path.read_bytes()
        if not polygons:
            text = _POLYGONS.sub(b"\\1[]", text)
        document = kind.model_validate_json(text)
    except OSError as error:
        raise UnusableFile(
            f"{path}: cannot be read ({error.strerror}); give a JSON file of annotations"
        ) from error
    except ValidationError as error:
        if text.lstrip()[:1] == b"[":
            raise UnusableFile(
                f"{path}: is a JSON list, as results are; ground truth is an object of images, categories and "
                "annotations. Are the two files swapped?"
            ) from error
        problems = [f"{_place(e['loc'])}: {e['msg']}, found {_shorten(e['input'])}" for e in error.errors()]
        refuse(path, dict.fromkeys(problems))
        raise
    refuse(path, _problems(document))
    return document


def recognises(path: Path, head: str) -> bool:
    return head.lstrip()[:1] in ("{", "[")


def read_truth(path: Path) -> Truth:
    """COCO or LVIS ground truth; the masks are not read. Raises UnusableFile as `read_document` does."""
    document = read_document(path, Document[Annotation], polygons=False)
    concept = {category.id: category.concept for category in document.categories}
    annotations = document.annotations
    pairs = [(_key(tag.image_id), concept[tag.category_id]) for tag in (*annotations, *document.image_tags)]
    columns = {
        "id": [_key(annotation.image_id) for annotation in annotations],
        "concept_id": [concept[annotation.category_id] for annotation in annotations],
        "bbox": [annotation.bbox for annotation in annotations],
        "crowd": [annotation.iscrowd for annotation in annotations],
    }
    images = [(_key(image.id), image.name, image.width, image.height) for image in document.images]
    concepts = [(_key(c.id), c.concept, _LVIS_BANDS.get(c.frequency or "")) for c in document.categories]
    is_federated = any(image.neg_category_ids is not None for image in document.images)

    def listed(field: str) -> pa.Table | None:
        if not is_federated:
            return None
        ids = [(image.id, id_) for image in document.images for id_ in getattr(image, field) or ()]
        return table_of([(_key(image), concept[category]) for image, category in ids], PAIRS)

    return Truth(
        path,
        table_of(images, IMAGES),
        table_of(concepts, CONCEPTS),
        table_of(sorted(set(pairs)), PAIRS),
        pa.table(columns, schema=TRUE_BOXES) if annotations else None,
        negatives=listed("neg_category_ids"),
        not_exhaustive=listed("not_exhaustive_category_ids"),
    )


def read_results(path: Path) -> Predictions:
    """COCO results: boxes with scores. Raises UnusableFile for what is no list of them, row by row."""
    try:
        with duckdb.connect() as sql:
            found = sql.sql(_RESULTS, params={"path": str(path)}).to_arrow_table()
    except duckdb.Error as error:
        raise UnusableFile(
            f"{path}: these are no COCO results, a JSON list of {{image_id, category_id, bbox, score}}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    fields = {"image": "image_id", "concept": "category_id", "score": "score", "bbox": "bbox"}
    origin = Origin(path, "[{}]", fields)
    row = found["row"].to_numpy()
    refuse(path, (f"{origin.place(row[i], c)}: is missing" for c in fields for i in _missing(found[c])))
    columns = [
        found["row"],
        found["image"],
        found["concept"],
        numbers(found["score"], row, origin, "score"),
        box_lists(boxes(found["bbox"], row, origin)),
    ]
    rows = Rows(pa.table(columns, schema=PREDICTED_BOXES), origin)
    return Predictions(path, boxes=rows, by_id=True, open_vocabulary=False)


def _key(id_: int | str) -> str:
    """An id as JSON text: 1 and "1" are two ids."""
    return str(id_) if isinstance(id_, int) else json.dumps(id_, ensure_ascii=False)


def _missing(column: pa.ChunkedArray) -> list[int]:
    return np.flatnonzero(column.is_null().to_numpy()).tolist()


def _problems(document: Document[A]) -> Iterator[str]:
    yield from _repeated("images", "id", (image.id for image in document.images))
    yield from _repeated("images", "file_name", (image.file_name for image in document.images))
    yield from _repeated("categories", "id", (category.id for category in document.categories))
    yield from _repeated("categories", "concept_id (or name)", (c.concept for c in document.categories))
    for i, category in enumerate(document.categories):
        if category.concept is None:
            yield f"categories[{i}]: has neither a concept_id nor a name"

    images = {image.id: image for image in document.images}
    categories = {category.id for category in document.categories}
    for i, image in enumerate(document.images):
        for field in ("neg_category_ids", "not_exhaustive_category_ids"):
            for id_ in getattr(image, field) or ():
                if id_ not in categories:
                    yield f"images[{i}].{field}: {id_!r} is no id of categories"
    tagged: tuple[tuple[str, Sequence[ImageTag]], ...] = (
        ("annotations", document.annotations),
        ("image_tags", document.image_tags),
    )
    for table, entries in tagged:
        for i, entry in enumerate(entries):
            if entry.image_id not in images:
                yield f"{table}[{i}].image_id: {entry.image_id!r} is no id of images"
            if entry.category_id not in categories:
                yield f"{table}[{i}].category_id: {entry.category_id!r} is no id of categories"
    for i, annotation in enumerate(document.annotations):
        within = images.get(annotation.image_id)
        if within is not None and not _is_within(annotation, within):
            yield (
                f"annotations[{i}].bbox: {list(annotation.bbox)} reaches beyond its image of "
                f"{within.width} x {within.height} pixels; are these corners instead of x, y, width, height?"
            )


def _is_within(annotation: Annotation, image: Image) -> bool:
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
    return field_of(step for step in location if step not in ("int", "str", "constrained-str")) or "document"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
