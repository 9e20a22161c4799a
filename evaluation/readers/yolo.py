"""A folder of YOLO labels: a text file an image, a line a box, `class cx cy width height [score]` as fractions of the image.

A line of more numbers is the polygon of a mask. Classes are numbered from 0 in `data.yaml` (`names`), `classes.txt`,
`obj.names` or the like, beside the labels or above them; without such a file they are called by their number. An empty
file is an image without boxes. Pictures beside the labels (`images/` for `labels/`) give names with an ending, and sizes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from evaluation.readers.annotated import Annotated, Box, Label, Size, around
from evaluation.readers.sheets import content_of
from evaluation.readers.tables import UnusableFile, refuse
from taxonomy.strict_yaml import YamlError, read_document

_NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "names.txt", "classes.names")
_NO_LABELS = {
    *_NAME_FILES,
    "train.txt",
    "val.txt",
    "test.txt",
    "readme.txt",
    "readme.roboflow.txt",
    "readme.dataset.txt",
}
_LINE = re.compile(r"^\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*$", re.IGNORECASE)
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_MOST_CLASSES = 1_000_000
_POINTS = 7  # a class and three points


def recognises(path: Path, head: str) -> bool:
    if not path.is_dir():
        return False
    files = list(_label_files(path))
    lines = (line for file in files[:50] for line in file.read_text(errors="replace").splitlines()[:1])
    first = next(lines, None)
    return bool(files) and (_LINE.match(first) is not None if first else _names(path) is not None)


def read(path: Path) -> Annotated:
    """Raises UnusableFile that names file and line of what is no such label."""
    names = _names(path) or []
    found = Annotated(path, classes=list(names), relative=True)
    problems: list[str] = []
    pictures = {_key(file, path): file for file in _pictures(path)}
    for file in _label_files(path):
        picture = pictures.get(_key(file, path))
        image = picture.name if picture else file.stem
        if image in found.images:
            image = str(file.relative_to(path).with_suffix(picture.suffix if picture else ""))
        found.images[image] = _size(picture) if picture else None
        for number, line in enumerate(content_of(file).decode("utf-8", "replace").splitlines(), start=1):
            if line.strip():
                label = _label(image, line, names)
                if label:
                    found.labels.append(label)
                else:
                    problems.append(
                        f"{file.name}, line {number}: {line[:60]!r} is no `class cx cy width height [score]`"
                    )
    for image, picture in ((file.name, file) for file in pictures.values()):
        if image not in found.images:
            found.images[image] = _size(picture)
    refuse(path, problems)
    if not names:
        found.remarks.append(
            f"{path.name}: no file says how its classes are called (classes.txt, data.yaml): they go by number."
        )
    return found


def _label(image: str, line: str, names: list[str]) -> Label | None:
    try:
        first, *numbers = (float(text) for text in line.split())
    except ValueError:
        return None
    if not first.is_integer() or len(numbers) < 4:
        return None
    index, score = int(first), None
    concept = names[index] if 0 <= index < len(names) else str(index)
    if len(numbers) + 1 >= _POINTS:
        points = numbers[: len(numbers) // 2 * 2]
        score = numbers[-1] if len(numbers) % 2 else None
        return Label(image, concept, around([*zip(points[::2], points[1::2], strict=True)]), score)
    x, y, width, height = numbers[:4]
    if min(width, height) < 0:
        return None
    box: Box = (x - width / 2, y - height / 2, width, height)
    return Label(image, concept, box, numbers[4] if len(numbers) > 4 else None)


def _label_files(path: Path) -> Iterator[Path]:
    return (file for file in sorted(path.rglob("*.txt")) if file.name.lower() not in _NO_LABELS)


def _pictures(path: Path) -> Iterator[Path]:
    places = [path] if path.name != "labels" else [path, path.parent / "images"]
    for place in places:
        yield from (file for file in sorted(place.rglob("*")) if file.suffix.lower() in _PICTURES)


def _key(file: Path, root: Path) -> tuple[str, ...]:
    """The same for a label and its picture: without the ending, and without `images` and `labels` among its folders."""
    inside = file.relative_to(root if file.is_relative_to(root) else root.parent)
    return (*(part for part in inside.parts[:-1] if part not in ("images", "labels")), inside.stem)


def _names(path: Path) -> list[str] | None:
    for folder in (path, path.parent, path.parent.parent):
        for name in _NAME_FILES:
            if (folder / name).is_file():
                lines = content_of(folder / name).decode("utf-8", "replace").splitlines()
                return [line.strip() for line in lines if line.strip()]
        for file in sorted(folder.glob("*.y*ml")):
            names = _yaml_names(file)
            if names:
                return names
    return None


def _yaml_names(file: Path) -> list[str]:
    try:
        said, _ = read_document(content_of(file).decode("utf-8-sig"))
    except (YamlError, UnicodeDecodeError) as error:
        raise UnusableFile(f"{file}: cannot be read as YAML: {error}") from error
    names = said.get("names") if isinstance(said, dict) else None
    if isinstance(names, dict):
        if not all(isinstance(number, int) and 0 <= number < _MOST_CLASSES for number in names):
            raise UnusableFile(
                f"{file}: names: classes are numbered from 0 to {_MOST_CLASSES:,}, as in `0: person`"
            )
        return [str(names.get(number, number)) for number in range(max(names, default=-1) + 1)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _size(picture: Path) -> Size | None:
    try:
        with Image.open(picture) as opened:
            return float(opened.width), float(opened.height)
    except (OSError, UnidentifiedImageError):
        return None
