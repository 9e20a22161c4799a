"""What the exports of annotation tools say, image by image: the common ground of YOLO, VOC, Label Studio, CVAT and FiftyOne."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from evaluation.readers.named import named_truth
from evaluation.readers.plain_csv import no_scores
from evaluation.readers.tables import (
    PREDICTED_BOXES,
    PREDICTED_TAGS,
    TRUE_BOXES,
    Origin,
    Predictions,
    Rows,
    Truth,
    UnusableFile,
    table_of,
)

Box = tuple[float, float, float, float]
Size = tuple[float, float]

_FIELDS = {"image": "image", "concept": "label", "score": "score", "bbox": "box"}


@dataclass(frozen=True, slots=True)
class Label:
    """A label of an image, or of a box in it."""

    image: str
    concept: str
    box: Box | None = None  # x, y, width, height in the unit of the file
    score: float | None = None
    crowd: bool = False  # nobody has to find it


@dataclass(slots=True)
class Annotated:
    """The labels of a file or folder."""

    path: Path
    images: dict[str, Size | None] = field(
        default_factory=dict
    )  # name -> width and height in pixels where known
    labels: list[Label] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # also those that no image carries
    relative: bool = False  # boxes are 0..1 of the image's sides, else pixels
    remarks: list[str] = field(default_factory=list)

    def truth(self) -> Truth:
        """Scores are not read: whoever exports annotations may have some."""
        self._refuse_nothing()
        boxes = [(of.image, of.concept, of.box, of.crowd) for of in self.labels if of.box]
        pairs = [(of.image, of.concept) for of in self.labels]
        named = table_of(pairs, pa.schema([("image", pa.string()), ("concept", pa.string())]))
        vocabulary = [*self.classes, *(of.concept for of in self.labels)]
        return named_truth(
            self.path,
            pa.chunked_array([pa.array(self.images, pa.string())]),
            named,
            vocabulary=pa.chunked_array([pa.array(vocabulary, pa.string())]),
            boxes=table_of(boxes, TRUE_BOXES),
            relative_boxes=self.relative and bool(boxes),
            sizes={name: size for name, size in self.images.items() if size},
            remarks=self.remarks,
        )

    def predictions(self) -> Predictions:
        """Without scores all count the same."""
        self._refuse_nothing()
        tags, boxes = [], []
        for row, of in enumerate(self.labels, start=1):
            known = (row, of.image, of.concept, 1.0 if of.score is None else of.score)
            if of.box:
                boxes.append((*known, of.box))
            else:
                tags.append(known)
        origin = Origin(self.path, "label {}", _FIELDS)
        unscored = bool(self.labels) and all(of.score is None for of in self.labels)
        return Predictions(
            self.path,
            Rows(table_of(tags, PREDICTED_TAGS), origin) if tags or not boxes else None,
            Rows(table_of(boxes, PREDICTED_BOXES), origin) if boxes else None,
            relative_boxes=self.relative,
            remarks=(*self.remarks, *((no_scores(self.path),) if unscored else ())),
        )

    def _refuse_nothing(self) -> None:
        if not self.images:
            raise UnusableFile(f"{self.path}: names no image")


def around(points: Sequence[tuple[float, float]]) -> Box:
    """The box around the points of a polygon."""
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across) - min(across), max(down) - min(down)
