"""What readers give: ground truth and predictions as Arrow tables, and where each row stands in its file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa

_SHOWN_PROBLEMS = 20

PAIRS = pa.schema([("id", pa.string()), ("concept_id", pa.string())])
IMAGES = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("width", pa.float64()),  # pixels; null where the file does not say it
        ("height", pa.float64()),
    ]
)
CONCEPTS = pa.schema(
    [
        ("id", pa.string()),  # as results name it: a category id
        ("concept_id", pa.string()),
        ("lvis_band", pa.string()),  # rare, common, frequent where the file says it, else null
    ]
)
TRUE_BOXES = pa.schema(
    [
        ("id", pa.string()),
        ("concept_id", pa.string()),
        ("bbox", pa.list_(pa.float64(), 4)),  # xywh
        ("crowd", pa.bool_()),  # a group: found or not, it counts for nothing
    ]
)
PREDICTED_TAGS = pa.schema(
    [("row", pa.int64()), ("image", pa.string()), ("concept", pa.string()), ("score", pa.float64())]
)
PREDICTED_BOXES = pa.schema([*PREDICTED_TAGS, ("bbox", pa.list_(pa.float64()))])


class UnusableFile(ValueError):
    """Annotations or predictions cannot be used; the message names the file and each row and field at fault."""


def refuse(path: Path, problems: Iterable[str]) -> None:
    """Raise UnusableFile with the first problems, and with how many more there are; nothing without any."""
    rest = iter(problems)
    shown = list(islice(rest, _SHOWN_PROBLEMS))
    if shown:
        more = sum(1 for _ in rest)
        lines = [*shown, f"and {more:,} more"] if more else shown
        raise UnusableFile("\n  ".join([f"{path}: this file cannot be used:", *lines]))


def table_of(rows: Sequence[Sequence[object]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of the schema."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.table([pa.array(c, kind) for c, kind in zip(columns, schema.types, strict=True)], schema=schema)


def field_of(location: Iterable[int | str]) -> str:
    """`('annotations', 17, 'bbox', 2)`, as pydantic gives it, -> `annotations[17].bbox[2]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


@dataclass(frozen=True, slots=True)
class Origin:
    """How the rows of a table and their fields are called in the file that they come from."""

    path: Path
    row: str  # such as "line {}" or "[{}]"
    fields: Mapping[str, str]  # our column -> the file's field

    def place(self, row: int, column: str) -> str:
        """Such as `[17].category_id` or `line 18, LabelName`."""
        name = self.fields[column]
        return f"{self.row.format(row)}{'.' if self.row.endswith(']') else ', '}{name}"


@dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth of any format. Only what was annotated is known; `tags` holds also what the boxes imply."""

    path: Path
    images: pa.Table  # IMAGES: every evaluated image, also those without tags
    concepts: pa.Table  # CONCEPTS: the evaluated vocabulary, also what no image carries
    tags: pa.Table  # PAIRS
    boxes: pa.Table | None = None  # TRUE_BOXES; None where the format or the file has none
    relative_boxes: bool = False  # 0..1 of the image's sides, else pixels
    negatives: pa.Table | None = (
        None  # PAIRS that were verified to be absent; if given, the truth is federated
    )
    not_exhaustive: pa.Table | None = None  # PAIRS of which not every instance has a box (LVIS)
    all_images: bool = (
        True  # what it does not list is not evaluated; else the format lists only images with a box
    )
    restricted: bool = False  # somebody chose the images: predictions about others are rightly left out
    remarks: tuple[str, ...] = ()  # what a reader of the figures has to know of the file
    frequency: Mapping[str, float] = field(default_factory=dict)
    """concept id -> how many images carry it, where this truth is of chosen pairs and does not say"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Predictions as they stand in a file: PREDICTED_TAGS or PREDICTED_BOXES."""

    table: pa.Table
    origin: Origin


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of any format, before they are aligned with a ground truth."""

    path: Path
    tags: Rows | None = None
    boxes: Rows | None = None
    by_id: bool = False  # images and concepts are called by the ids of the ground truth, else by names
    relative_boxes: bool = False
    other_images: bool = False  # also about images that are not evaluated, rightly
    open_vocabulary: bool = True  # also about concepts that are not evaluated, rightly
    remarks: tuple[str, ...] = ()  # what a reader of the figures has to know of the file
