"""JSON of annotation tools: Label Studio's export (JSON and JSON-MIN), FiftyOne's datasets.

Label Studio: a list of tasks; boxes in percent of the image, polygons and ellipses by the box around them, choices and
brushes as tags. As a ground
truth its annotations are read, as predictions its `predictions` where there are any. An uploaded file goes by its name
without the eight digits that Label Studio puts before it.

FiftyOne: `samples.json` of a FiftyOneDataset, `labels.json` of its image classification and detection datasets; as a ground
truth the field `ground_truth` is read, as predictions `predictions`, else the one field of labels that there is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from evaluation.readers.annotated import Annotated, Box, Label, Size, around
from evaluation.readers.sheets import content_of, parsed_json
from evaluation.readers.tables import UnusableFile

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_SHAPES = ("rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "brushlabels", "labels")
_FIFTYONE_FILES = ("samples.json", "labels.json")


def recognises_label_studio(path: Path, head: str) -> bool:
    start = head.lstrip()
    is_export = '"data"' in start and ('"annotations"' in start or '"predictions"' in start)
    return start[:1] == "[" and (
        is_export or any(f'"{shape}"' in start for shape in (*_SHAPES, "choices", "choice"))
    )


def recognises_fiftyone(path: Path, head: str) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in _FIFTYONE_FILES)
    start = head.lstrip()
    return start[:1] == "{" and (
        ('"samples"' in start and '"filepath"' in start)
        or ('"labels"' in start and '"annotations"' not in start and '"images"' not in start)
    )


def read_label_studio(path: Path, predicted: bool = False) -> Annotated:
    """Raises UnusableFile for what is no such list."""
    found = Annotated(path, relative=True)
    tasks = parsed_file(path)
    try:
        for task in tasks:
            image = _image_of(task)
            found.images.setdefault(image, None)
            for result, score in _results(task, predicted):
                found.images[image] = (
                    _size(result, "original_width", "original_height") or found.images[image]
                )
                found.labels += _studio_labels(image, result, score)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnusableFile(f"{path}: is no export of Label Studio, a list of tasks: {error!r}") from error
    return found


def read_fiftyone(path: Path, predicted: bool = False) -> Annotated:
    """Raises UnusableFile for what is no such object."""
    file = (
        path if path.is_file() else next(path / name for name in _FIFTYONE_FILES if (path / name).is_file())
    )
    document = parsed_file(file)
    found = Annotated(path, relative=True)
    try:
        if "samples" in document:
            _read_samples(found, document["samples"], predicted)
        else:
            classes = document.get("classes") or []
            found.classes = [str(name) for name in classes]
            for image, labels in document["labels"].items():
                found.images[image] = None
                for entry in labels if isinstance(labels, list) else [labels]:
                    if entry is not None:
                        found.labels.append(_fiftyone_label(image, entry, classes))
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UnusableFile(f"{file}: is no dataset of FiftyOne: {error!r}") from error
    return found


def picture_of(task: Mapping[str, Any]) -> str:
    """Path of a task's picture, of its address or below the storage that serves it. Raises StopIteration for none."""
    data = task.get("data", task)
    url: str = (
        data.get("image")
        or data.get("img")
        or next(
            value
            for key, value in data.items()
            if isinstance(value, str) and re.search(r"\.(jpe?g|png|webp|tiff?|bmp)", value, re.I)
        )
    )
    parsed = urlparse(url)
    if not parsed.scheme and not url.startswith("/"):
        return url  # a path and no address: its signs are those of the name
    local = parse_qs(parsed.query).get("d")
    return local[0] if local else unquote(parsed.path)


def uploaded_name(path: str) -> str:
    """The name of a file without its folder, as it was before it was uploaded."""
    return _UPLOADED.sub("", path.rpartition("/")[2])


def _image_of(task: Mapping[str, Any]) -> str:
    path = picture_of(task)
    return uploaded_name(path) if path.startswith("/") else path


def _results(task: Mapping[str, Any], predicted: bool) -> Iterator[tuple[Mapping[str, Any], float | None]]:
    """The results of a task, each with its score."""
    if "data" not in task:  # JSON-MIN
        for key, value in task.items():
            entries = value if isinstance(value, list) else [value]
            for entry in entries:
                if isinstance(entry, dict) and (set(entry) & {*_SHAPES, "choices"}):
                    yield {"value": entry, **entry}, None
                elif key in ("choice", "choices") and isinstance(entry, str):
                    yield {"value": {"choices": [entry]}}, None
        return
    groups = task.get("predictions") or [] if predicted else []
    for group in groups or task.get("annotations") or task.get("completions") or []:
        if isinstance(group, dict) and not group.get("was_cancelled"):
            for result in group.get("result") or []:
                yield result, result.get("score", group.get("score") if predicted else None)


def _studio_labels(image: str, result: Mapping[str, Any], score: float | None) -> Iterator[Label]:
    names, box = names_and_box(result)
    for name in names:
        yield Label(image, name, box, score)


def names_and_box(result: Mapping[str, Any]) -> tuple[list[str], Box | None]:
    """The labels of one result of Label Studio, and where it is, 0..1; None for what is of the whole picture."""
    value = result.get("value") or {}
    names = [str(name) for key in (*_SHAPES, "choices") for name in value.get(key) or ()]
    box: Box | None = None
    if "choices" in value:
        pass
    elif "points" in value:
        box = around([(x / 100, y / 100) for x, y in value["points"]])
    elif {"x", "y", "radiusX", "radiusY"} <= set(value):
        box = _ellipse(value)
    elif {"x", "y", "width", "height"} <= set(value):
        box = (value["x"] / 100, value["y"] / 100, value["width"] / 100, value["height"] / 100)
    return names, box


def _ellipse(value: Mapping[str, Any]) -> Box:
    across, down = value["radiusX"] / 100, value["radiusY"] / 100
    return value["x"] / 100 - across, value["y"] / 100 - down, 2 * across, 2 * down


def _read_samples(found: Annotated, samples: Sequence[Mapping[str, Any]], predicted: bool) -> None:
    fields = dict.fromkeys(
        name
        for sample in samples
        for name, value in sample.items()
        if isinstance(value, dict) and _entries(value) is not None
    )
    wanted = "predictions" if predicted else "ground_truth"
    field = wanted if wanted in fields else next(iter(fields), None)
    if field is None:
        raise KeyError(f"no field of labels, such as {wanted}")
    others = [name for name in fields if name != field]
    if others:
        found.remarks.append(f"{found.path.name}: its field {field} is read, not {', '.join(others)}.")
    for sample in samples:
        image, metadata = Path(sample["filepath"]).name, sample.get("metadata") or {}
        found.images[image] = _size(metadata, "width", "height")
        for entry in _entries(sample.get(field) or {}) or ():
            found.labels.append(_fiftyone_label(image, entry, ()))


def _size(said: Mapping[str, Any], width: str, height: str) -> Size | None:
    return (float(said[width]), float(said[height])) if said.get(width) and said.get(height) else None


def _entries(value: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    for key in ("detections", "classifications"):
        if key in value:
            return list(value[key])
    return [value] if "label" in value and value.get("_cls", "Classification") == "Classification" else None


def _fiftyone_label(image: str, entry: Any, classes: Sequence[str]) -> Label:
    entry = entry if isinstance(entry, Mapping) else {"label": entry}
    label = entry["label"]
    name = str(classes[label]) if isinstance(label, int) and classes else str(label)
    box = entry.get("bounding_box")
    score = entry.get("confidence")
    crowd = bool(entry.get("iscrowd") or (entry.get("attributes") or {}).get("iscrowd"))
    return Label(image, name, (box[0], box[1], box[2], box[3]) if box else None, score, crowd)


def parsed_file(path: Path) -> Any:
    """Raises UnusableFile for what is no JSON."""
    try:
        return parsed_json(content_of(path))
    except OSError as error:
        raise UnusableFile(f"{path}: cannot be read ({error.strerror}); give a JSON file") from error
    except ValueError as error:
        raise UnusableFile(f"{path}: is not JSON ({error})") from error
