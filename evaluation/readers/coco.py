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
there and are not read. An annotation without a `bbox` has the one around its polygons or mask.

Results go by ids, so categories of one name and images of one file name may be evaluated; the ones that are told apart
by nothing else are named with their id. Results may also come one a line, or with masks alone.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from evaluation.readers.sheets import content_of, head_of, parsed_json
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

_POLYGONS = re.compile(rb'("segmentation"\s*:\s*)\[[\[\]\s\d.,eE+-]*\]')
_BRANCHES = {"int", "str", "constrained-str", "float", "function-after[_whole(), float]"}
_NO_RESULTS = (
    "{path}: these are no COCO results, a JSON list of {{image_id, category_id, bbox, score}}: {why}"
)
_LVIS_BANDS = {"r": "rare", "c": "common", "f": "frequent"}

# JSON columns keep the text of each value: 1 and "1" stay different ids, and what is no number can be shown.
_RESULTS = """
select row_number() over () - 1 as row, {image_id} as image, {category_id} as concept,
       score::varchar as score, bbox::varchar as bbox
from read_json($path, format = $format, maximum_object_size = 67108864,
               columns = {{image_id: 'JSON', category_id: 'JSON', bbox: 'JSON', score: 'JSON'}})
"""
_MASKS = """
select row_number() over () - 1 as row, segmentation::varchar as segmentation
from read_json($path, format = $format, maximum_object_size = 67108864, columns = {segmentation: 'JSON'})
"""
# pandas writes whole numbers beside a missing one as 1.0
_WHOLE = "regexp_replace({0}::varchar, '^(-?\\d+)\\.0+$', '\\1')"


def _whole(value: float) -> float:
    if not value.is_integer():
        raise ValueError("an id is a whole number or a text")
    return value


Id = StrictInt | StrictStr | Annotated[StrictFloat, AfterValidator(_whole)]
Name = Annotated[StrictStr, Field(min_length=1)]
Side = Annotated[FiniteFloat, Field(gt=0)]
Length = Annotated[FiniteFloat, Field(ge=0)]


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Image(Entry):
    id: Id
    file_name: Name | None = None
    coco_url: StrictStr | None = None  # datumaro and CVAT write an empty one
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


_Side = Annotated[PositiveInt, Field(le=1_000_000)]
_Run = Annotated[NonNegativeInt, Field(le=2**32 - 1)]  # what pycocotools holds


class Rle(Entry):
    size: tuple[_Side, _Side]
    counts: StrictStr | list[_Run]


Polygon = Annotated[list[FiniteFloat], Field(min_length=6)]


class Annotation(ImageTag):
    bbox: tuple[FiniteFloat, FiniteFloat, Length, Length] | None = None
    area: FiniteFloat | None = None
    iscrowd: bool | None = False


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
        UnusableFile: the file is missing, is not JSON or not of this shape; an id is given twice; an annotation
            names an unknown image or category, or has neither a box nor a mask.
    """
    try:
        text = content_of(path)
        if not polygons:
            text = without_polygons(text)
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


def without_polygons(text: bytes) -> bytes:
    """The text of a file of annotations with no point in any segmentation."""
    return _POLYGONS.sub(b"\\1[]", text)


def recognises(path: Path, head: str) -> bool:
    return head.lstrip()[:1] in ("{", "[")


def read_truth(path: Path) -> Truth:
    """COCO or LVIS ground truth. Raises UnusableFile as `read_document` does."""
    document: Document[Any] = read_document(path, Document[Annotation], polygons=False)
    if any(annotation.bbox is None for annotation in document.annotations):
        document = read_document(path, Document[MaskedAnnotation])
    concept, remarks = concepts_of(path, document)
    annotations = document.annotations
    pairs = [(_key(tag.image_id), concept[tag.category_id]) for tag in (*annotations, *document.image_tags)]
    columns = {
        "id": [_key(annotation.image_id) for annotation in annotations],
        "concept_id": [concept[annotation.category_id] for annotation in annotations],
        "bbox": [box_of(annotation) for annotation in annotations],
        "crowd": [bool(annotation.iscrowd) for annotation in annotations],
    }
    areas = pa.array([annotation.area for annotation in annotations], pa.float64())
    rows = pa.array(np.arange(len(annotations)))
    images = [(_key(image.id), image.name, image.width, image.height) for image in document.images]
    concepts = [(_key(c.id), concept[c.id], _LVIS_BANDS.get(c.frequency or "")) for c in document.categories]
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
        pa.table(columns, schema=TRUE_BOXES).append_column("area", areas).append_column("row", rows)
        if annotations
        else None,
        negatives=listed("neg_category_ids"),
        not_exhaustive=listed("not_exhaustive_category_ids"),
        remarks=(*remarks, *_file_name_remarks(path, document)),
    )


def concepts_of(path: Path, document: Document[A]) -> tuple[dict[int | str | float, str], list[str]]:
    """Category id -> concept id, and remarks: of categories of one name, all but the most used are told apart by id."""
    tagged: tuple[ImageTag, ...] = (*document.annotations, *document.image_tags)
    used = Counter(tag.category_id for tag in tagged)
    same: dict[str, list[Category]] = {}
    for category in document.categories:
        same.setdefault(category.concept or "", []).append(category)
    names: dict[int | str | float, str] = {}
    remarks = []
    for name, categories in same.items():
        first, *others = sorted(categories, key=lambda category: -used[category.id])
        names |= {first.id: name} | {other.id: f"{name} (id {_key(other.id)})" for other in others}
        if others:
            ids = ", ".join(_key(category.id) for category in categories)
            shown = ", ".join(repr(names[other.id]) for other in others)
            remarks.append(
                f"{path.name}: the categories {ids} are all called {name!r}; they count as {shown} and {name!r}."
            )
    return names, remarks


def box_of(annotation: Annotation) -> tuple[float, float, float, float]:
    """Its `bbox`, else the one around its polygons or mask."""
    if annotation.bbox is not None:
        return annotation.bbox
    segmentation = getattr(annotation, "segmentation", None)
    if isinstance(segmentation, Rle):
        return _box_of_mask(segmentation.model_dump())
    points = np.concatenate(
        [np.reshape(polygon[: len(polygon) // 2 * 2], (-1, 2)) for polygon in segmentation or ()]
    )
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right - left, bottom - top


def read_results(path: Path) -> Predictions:
    """COCO results: boxes with scores. Raises UnusableFile for what is no list of them, row by row."""
    found = _query(
        path, _RESULTS.format(image_id=_WHOLE.format("image_id"), category_id=_WHOLE.format("category_id"))
    )
    fields = {"image": "image_id", "concept": "category_id", "score": "score", "bbox": "bbox"}
    origin = Origin(path, "[{}]", fields)
    row = found["row"].to_numpy()
    remarks = []
    if found.num_rows and all(found[name].null_count == found.num_rows for name in fields):
        raise UnusableFile(_NO_RESULTS.format(path=path, why="no row has any of these keys"))
    if unboxed := _missing(found["bbox"]):
        masks = _query(path, _MASKS)["segmentation"].take(pa.array(unboxed)).to_pylist()
        around = {
            i: json.dumps(_box_of_mask(parsed_json(mask)))
            for i, mask in zip(unboxed, masks, strict=True)
            if mask
        }
        texts = pa.array(
            [around.get(i, text) for i, text in enumerate(found["bbox"].to_pylist())], pa.string()
        )
        found = found.set_column(found.column_names.index("bbox"), "bbox", texts)
        if around:
            remarks.append(
                f"{path.name}: {len(around):,} results have a mask and no box; the box around it is taken."
            )
    refuse(path, (f"{origin.place(row[i], c)}: is missing" for c in fields for i in _missing(found[c])))
    columns = [
        found["row"],
        found["image"],
        found["concept"],
        numbers(found["score"], row, origin, "score"),
        box_lists(boxes(found["bbox"], row, origin)),
    ]
    rows = Rows(pa.table(columns, schema=PREDICTED_BOXES), origin)
    return Predictions(path, boxes=rows, by_id=True, open_vocabulary=False, remarks=tuple(remarks))


def masks_of_truth(path: Path) -> list[dict[str, Any] | None]:
    """The mask of each annotation of a file as COCO's compressed run lengths, None where it has none."""
    from pycocotools import mask as coco

    document = read_document(path, Document[MaskedAnnotation])
    sizes = {image.id: (image.height, image.width) for image in document.images}
    masks: list[dict[str, Any] | None] = []
    for annotation in document.annotations:
        given, (height, width) = annotation.segmentation, sizes[annotation.image_id]
        if isinstance(given, Rle):
            masks.append(_compressed(given.model_dump()))
        elif given and height and width:
            masks.append(coco.merge(coco.frPyObjects(given, round(height), round(width))))
        else:
            masks.append(None)
    return masks


def masks_of_results(path: Path) -> list[dict[str, Any] | None]:
    """The mask of each result of a file, as `masks_of_truth`."""
    texts = _query(path, _MASKS)["segmentation"].to_pylist()
    return [_compressed(parsed_json(text)) if text and text != "null" else None for text in texts]


def _compressed(rle: Mapping[str, Any]) -> dict[str, Any]:
    from pycocotools import mask as coco

    if isinstance(rle["counts"], str):
        return {**rle, "size": list(rle["size"])}
    return dict(coco.frPyObjects({**rle, "size": list(rle["size"])}, *rle["size"]))


def _query(path: Path, query: str) -> pa.Table:
    try:
        first = head_of(path, 4096).lstrip()[:1]
        parameters = {"path": str(path), "format": "array" if first == "[" else "newline_delimited"}
        with duckdb.connect() as sql:
            return sql.sql(query, params=parameters).to_arrow_table()
    except OSError as error:
        raise UnusableFile(
            f"{path}: cannot be read ({error.strerror}); give a JSON list of results"
        ) from error
    except duckdb.Error as error:
        raise UnusableFile(_NO_RESULTS.format(path=path, why=str(error).splitlines()[0])) from error


def _box_of_mask(rle: Mapping[str, Any]) -> tuple[float, float, float, float]:
    from pycocotools import mask as coco

    x, y, width, height = coco.toBbox(_compressed(rle)).tolist()
    return x, y, width, height


def _key(id_: int | str | float) -> str:
    """An id as JSON text: 1 and "1" are two ids, 1.0 is 1."""
    return json.dumps(id_, ensure_ascii=False) if isinstance(id_, str) else str(int(id_))


def _missing(column: pa.ChunkedArray) -> list[int]:
    return np.flatnonzero(column.is_null().to_numpy()).tolist()


def _problems(document: Document[A]) -> Iterator[str]:
    yield from _repeated("images", "id", (image.id for image in document.images))
    yield from _repeated("categories", "id", (category.id for category in document.categories))
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
        if (
            annotation.bbox is None
            and isinstance(annotation, MaskedAnnotation)
            and not annotation.segmentation
        ):
            yield f"annotations[{i}].bbox: Field required, or a segmentation"


def _file_name_remarks(path: Path, document: Document[A]) -> Iterator[str]:
    counts = Counter(image.file_name for image in document.images if image.file_name is not None)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        yield (
            f"{path.name}: {len(repeated):,} file names are those of several images, such as {repeated[0]!r}; "
            "the images go by their ids."
        )


def _repeated(table: str, field: str, values: Iterable[object]) -> Iterator[str]:
    for value, count in Counter(value for value in values if value is not None).items():
        if count > 1:
            yield f"{table}.{field}: {value!r} is given {count} times; each must be given once"


def _place(location: tuple[int | str, ...]) -> str:
    """`('annotations', 17, 'bbox', 2)` -> `annotations[17].bbox[2]`; the branch of a union is left out."""
    return field_of(step for step in location if step not in _BRANCHES) or "document"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
