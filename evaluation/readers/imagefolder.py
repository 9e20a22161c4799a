"""`metadata.jsonl` of a Hugging Face image folder: one JSON object a line, one line an image.

```
{"file_name": "a/0001.png", "tags": ["vase", "gilt"], "scores": [0.9, 0.4]}
{"file_name": "a/0002.png", "objects": {"bbox": [[x, y, width, height]], "categories": ["vase"], "scores": [0.9]}}
```
https://huggingface.co/docs/datasets/image_dataset describes `file_name` and `objects`; boxes are in pixels,
`category` is read as `categories`. `scores` are for predictions; without them all count the same. Tags that
are numbers are taken as names ("0").
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from pyarrow import parquet
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from evaluation.readers import plain_csv
from evaluation.readers.named import named_truth
from evaluation.readers.sheets import content_of, head_of, header_of, is_parquet
from evaluation.readers.tables import (
    PREDICTED_BOXES,
    PREDICTED_TAGS,
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

FILE = "metadata.jsonl"
_FILES = (FILE, "metadata.csv", "metadata.parquet")
_KEYS = ("file_name", "tags", "scores", "objects")
_OTHERS = frozenset({"tag", "label", "category_id"})
_FIELDS = {"image": "file_name", "concept": "tags", "score": "scores"}
_OBJECT_FIELDS = {
    "image": "file_name",
    "concept": "objects.categories",
    "score": "objects.scores",
    "bbox": "objects.bbox",
}

Name = Annotated[
    str, BeforeValidator(lambda value: str(value) if type(value) is int else value), Field(min_length=1)
]
Length = Annotated[FiniteFloat, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Objects(_Entry):
    bbox: list[tuple[FiniteFloat, FiniteFloat, Length, Length]]
    categories: list[Name] = Field(validation_alias=AliasChoices("categories", "category"))
    scores: list[FiniteFloat] | None = None


class _Line(_Entry):
    file_name: Name
    tags: list[Name] = []
    scores: list[FiniteFloat] | None = None
    objects: _Objects | None = None


def recognises(path: Path, head: str) -> bool:
    if path.is_dir():
        return _file_of(path) is not None
    if is_parquet(head):
        return "objects" in header_of(path, head)
    names = header_of(path, head) if head.lstrip()[:1] == "{" else frozenset()
    return ("file_name" in names and not names & {"tag", "label"}) or (
        path.suffix == ".jsonl" and not names & _OTHERS
    )


def read_truth(path: Path) -> Truth:
    """Raises UnusableFile that names line and field for what is not of this shape."""
    if _is_table(path):
        return plain_csv.read_truth(_file_of(path) or path)
    lines = _read(path)
    tags = [(line.file_name, tag) for line in lines.values() for tag in line.tags]
    boxes = [
        (line.file_name, tag, bbox, False)
        for line in lines.values()
        if line.objects
        for bbox, tag in zip(line.objects.bbox, line.objects.categories, strict=True)
    ]
    pairs = tags + [(name, tag) for name, tag, _, _ in boxes]
    schema = pa.schema([("image", pa.string()), ("concept", pa.string())])
    return named_truth(
        path,
        pa.chunked_array([pa.array([line.file_name for line in lines.values()], pa.string())]),
        table_of(pairs, schema),
        boxes=table_of(boxes, TRUE_BOXES),
    )


def read_predictions(path: Path) -> Predictions:
    """Raises UnusableFile as `read_truth` does."""
    if _is_table(path):
        return plain_csv.read_predictions(_file_of(path) or path)
    lines = _read(path)
    tags = [
        (row, line.file_name, tag, score)
        for row, line in lines.items()
        for tag, score in zip(line.tags, _scores(line.scores, line.tags), strict=True)
    ]
    boxes = [
        (row, line.file_name, tag, score, bbox)
        for row, line in lines.items()
        if (found := line.objects)
        for tag, score, bbox in zip(
            found.categories, _scores(found.scores, found.bbox), found.bbox, strict=True
        )
    ]
    return Predictions(
        path,
        Rows(table_of(tags, PREDICTED_TAGS), Origin(path, "line {}", _FIELDS)) if tags else None,
        Rows(table_of(boxes, PREDICTED_BOXES), Origin(path, "line {}", _OBJECT_FIELDS)) if boxes else None,
    )


def _file_of(path: Path) -> Path | None:
    """The metadata in a folder."""
    return next((path / name for name in _FILES if (path / name).is_file()), None)


def _is_table(path: Path) -> bool:
    """Whether the metadata have one row a tag or one a picture, without boxes."""
    file = _file_of(path) if path.is_dir() else path
    return file is not None and (
        file.suffix == ".csv" or (file.suffix == ".parquet" and "objects" not in header_of(file, "PAR1"))
    )


def _texts(file: Path) -> Iterator[bytes]:
    """A JSON object a picture."""
    if file.suffix != ".parquet" and not is_parquet(head_of(file, 4)):
        yield from content_of(file).split(b"\n")
        return
    try:
        rows = parquet.read_table(file).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UnusableFile(f"{file}: is no whole Parquet file ({error})") from error
    for row in rows:
        picture = row.pop("image", None)
        if isinstance(picture, dict):
            row.setdefault("file_name", picture.get("path"))
        elif isinstance(picture, str):
            row.setdefault("file_name", picture)
        yield json.dumps({key: row[key] for key in _KEYS if row.get(key) is not None}).encode()


def _read(path: Path) -> dict[int, _Line]:
    """Line number -> line, without empty ones."""
    file = (_file_of(path) or path / FILE) if path.is_dir() else path
    lines: dict[int, _Line] = {}
    problems: list[str] = []
    try:
        for number, text in enumerate(_texts(file), start=1):
            if text.strip():
                try:
                    lines[number] = line = _Line.model_validate_json(text)
                    problems += [f"line {number}, {problem}" for problem in _uneven(line)]
                except ValidationError as error:
                    problems += [
                        f"line {number}, {field_of(e['loc']) or 'the whole line'}: {e['msg']}"
                        for e in error.errors()
                    ]
    except OSError as error:
        raise UnusableFile(f"{file}: cannot be read ({error.strerror}); give a {FILE}") from error
    refuse(file, problems)
    refuse(file, _repeated(lines))
    return lines


def _uneven(line: _Line) -> Iterator[str]:
    if line.scores is not None and len(line.scores) != len(line.tags):
        yield f"scores: there are {len(line.scores)} for {len(line.tags)} tags; give one a tag"
    if line.objects:
        boxes = len(line.objects.bbox)
        for name, values in (("categories", line.objects.categories), ("scores", line.objects.scores)):
            if values is not None and len(values) != boxes:
                yield f"objects.{name}: there are {len(values)} for {boxes} boxes; give one a box"


def _repeated(lines: dict[int, _Line]) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, line in lines.items():
        if (before := first.setdefault(line.file_name, number)) != number:
            yield f"line {number}, file_name: {line.file_name!r} is already in line {before}; give one line an image"


def _scores(scores: Sequence[float] | None, of: Sequence[object]) -> Sequence[float]:
    return [1.0] * len(of) if scores is None else scores
