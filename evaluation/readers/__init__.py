"""Ground truth and predictions in the formats of the field, as Arrow tables.

A reader gives what a file says; `align` joins the two. A file that cannot be used raises UnusableFile,
which names the file, the row and the field, and says what to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from evaluation.readers import (
    coco,
    imagefolder,
    json_exports,
    lake,
    openimages,
    plain_csv,
    xml_exports,
    yolo,
)
from evaluation.readers.aligning import Aligned, Reading, align
from evaluation.readers.annotated import Annotated
from evaluation.readers.sheets import head_of
from evaluation.readers.tables import Predictions, Truth, UnusableFile

__all__ = [
    "FORMATS",
    "Aligned",
    "Predictions",
    "Reading",
    "Truth",
    "UnusableFile",
    "align",
    "read_predictions",
    "read_truth",
]

_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how a path is recognised, given the beginning of the file ("" of a directory), and read."""

    looks_like: str
    recognises: Callable[[Path, str], bool]
    read_truth: Callable[[Path], Truth] | None = None
    read_predictions: Callable[[Path], Predictions] | None = None


def _annotated(
    looks_like: str,
    recognises: Callable[[Path, str], bool],
    read: Callable[[Path], Annotated],
    read_predicted: Callable[[Path], Annotated] | None = None,
) -> Format:
    """A format of an annotation tool; `read_predicted` where predictions stand elsewhere in it than what people said."""
    predicted = read_predicted or read
    return Format(
        looks_like, recognises, lambda path: read(path).truth(), lambda path: predicted(path).predictions()
    )


FORMATS: Mapping[str, Format] = {
    "imagefolder": Format(
        "metadata.jsonl, Parquet of the same, or a folder that holds metadata.jsonl, .csv or .parquet",
        imagefolder.recognises,
        imagefolder.read_truth,
        imagefolder.read_predictions,
    ),
    "lake": Format("a home of vistag, or its lake", lake.recognises, None, lake.read_predictions),
    "label-studio": _annotated(
        "JSON or JSON-MIN of Label Studio: a list of tasks",
        json_exports.recognises_label_studio,
        json_exports.read_label_studio,
        partial(json_exports.read_label_studio, predicted=True),
    ),
    "fiftyone": _annotated(
        "samples.json or labels.json of FiftyOne, or a folder that holds it",
        json_exports.recognises_fiftyone,
        json_exports.read_fiftyone,
        partial(json_exports.read_fiftyone, predicted=True),
    ),
    "voc": _annotated(
        "XML of Pascal VOC, or a folder of it",
        xml_exports.recognises_voc,
        xml_exports.read_voc,
    ),
    "cvat": _annotated(
        "XML of CVAT for images",
        xml_exports.recognises_cvat,
        xml_exports.read_cvat,
    ),
    "yolo": _annotated(
        "a folder of text files with lines of class cx cy width height",
        yolo.recognises,
        yolo.read,
    ),
    "csv": Format(
        "CSV with the header image,tag or image,tag,score; Parquet or JSON Lines with such columns",
        plain_csv.recognises,
        plain_csv.read_truth,
        plain_csv.read_predictions,
    ),
    "coco": Format(
        "JSON of COCO or LVIS: an object of annotations, or results as a list or one a line",
        coco.recognises,
        coco.read_truth,
        coco.read_results,
    ),
    "openimages": Format(
        "CSV with the header ImageID,Source,LabelName,Confidence,...",
        openimages.recognises,
        openimages.read_truth,
        openimages.read_predictions,
    ),
}
"""The first that recognises a path reads it."""


def read_truth(path: Path, format_name: str | None = None) -> Truth:
    """Ground truth, in the format of that name, else in the one that the file looks like.

    Raises:
        UnusableFile: the format is not known or holds no ground truth; or as its reader does.
    """
    name = format_name or _detect(path)
    reader = _format(path, name).read_truth
    if reader is None:
        raise UnusableFile(f"{path}: {name} holds predictions, no ground truth")
    truth = reader(path)
    return replace(truth, remarks=(_read_as(path, name), *truth.remarks))


def read_predictions(path: Path, format_name: str | None = None) -> Predictions:
    """Predictions, in the format of that name, else in the one that the file looks like.

    Raises:
        UnusableFile: as `read_truth`.
    """
    name = format_name or _detect(path)
    reader = _format(path, name).read_predictions
    if reader is None:
        raise UnusableFile(f"{path}: {name} holds ground truth, no predictions")
    predictions = reader(path)
    return replace(predictions, remarks=(_read_as(path, name), *predictions.remarks))


def _read_as(path: Path, name: str) -> str:
    return f"{path.name} is read as {name}."


def _format(path: Path, name: str) -> Format:
    if name not in FORMATS:
        raise UnusableFile(f"{path}: there is no format {name!r}; give one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _detect(path: Path) -> str:
    try:
        head = "" if path.is_dir() else head_of(path, _HEAD_BYTES)
    except OSError as error:
        raise UnusableFile(f"{path}: cannot be read ({error.strerror})") from error
    found = next((name for name, known in FORMATS.items() if known.recognises(path, head)), None)
    if found is None:
        shapes = "\n  ".join(f"{name}: {known.looks_like}" for name, known in FORMATS.items())
        raise UnusableFile(f"{path}: looks like none of the formats that can be read:\n  {shapes}")
    return found
