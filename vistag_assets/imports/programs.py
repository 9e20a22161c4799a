"""The files of annotation programs as answers: Label Studio's JSON, CVAT for images 1.1, COCO."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evaluation.readers.coco import Document, MaskedAnnotation, box_of, read_document
from evaluation.readers.json_exports import names_and_box, parsed_file, picture_of, uploaded_name
from evaluation.readers.sheets import head_of
from evaluation.readers.tables import UnusableFile
from evaluation.readers.xml_exports import CVAT_SHAPES, box_of_shape, parsed_xml
from resources.decisions.event import Box
from vistag_assets.imports.answers import Answer, Answers, Mark

LABEL_STUDIO, CVAT, COCO = "label-studio", "cvat", "coco"
_UPLOADS = "/data/upload/"
_BY_MACHINE = ("auto", "file")
"""CVAT's word for shapes that a model made, or that came from a file."""
_MOST_MEMBERS = 200_000
_MAX_BYTES = 4 << 30
_HEAD = 4096


def read_answers(path: Path, program: str | None = None) -> Answers:
    """What a file says, by the program that is named or that it looks like; a zip file by what lies in it.

    Raises UnusableFile, which names the file and what is wrong.
    """
    with _unzipped(path) as file:
        try:
            return _READERS[program or _program_of(path, file)](file)
        except RecursionError as error:
            raise UnusableFile(f"{path}: nests too deep to be read") from error
        except OSError as error:
            raise UnusableFile(f"{path}: cannot be read ({error.strerror or error})") from error


def _program_of(path: Path, file: Path) -> str:
    start = head_of(file, _HEAD).lstrip()
    if start.startswith("<") and "<annotations" in start:
        return CVAT
    if start.startswith("["):
        return LABEL_STUDIO
    if start.startswith("{"):
        return COCO
    raise UnusableFile(
        f"{path}: is no file of decisions: give the JSON export of Label Studio, CVAT's export 'CVAT for images 1.1' "
        "or COCO's JSON"
    )


@contextmanager
def _unzipped(path: Path) -> Iterator[Path]:
    """The file, or of a zip file the annotations in it, as CVAT and Label Studio pack them."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        yield path
        return
    try:
        with zipfile.ZipFile(path) as packed, TemporaryDirectory() as folder:
            names = [info for info in packed.infolist()[:_MOST_MEMBERS] if not info.is_dir()]
            wanted = [info for info in names if info.filename.lower().endswith((".xml", ".json"))]
            if len(wanted) != 1 or wanted[0].file_size > _MAX_BYTES:
                raise UnusableFile(
                    f"{path}: holds {len(wanted):,} files of annotations (.xml, .json): unpack it and give one of them"
                )
            file = Path(folder) / f"annotations{Path(wanted[0].filename).suffix}"
            with packed.open(wanted[0]) as source, file.open("wb") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
            yield file
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UnusableFile(f"{path}: cannot be unpacked: {error}") from error


def read_label_studio(path: Path) -> Answers:
    """Each annotation that was submitted is the answer of one person; predictions are what was shown."""
    found = Answers("Label Studio")
    tasks = parsed_file(path)
    try:
        for task in tasks:
            if "data" not in task:
                raise ValueError("a task has no `data`; export as JSON, not as JSON-MIN or CSV")
            picture = picture_of(task)
            if picture.startswith(_UPLOADS):
                picture = uploaded_name(picture)
            predictions = [of for of in task.get("predictions") or () if isinstance(of, dict)]
            proposed = _proposed(predictions)
            if proposed is not None:
                found.offered[picture] = tuple(_studio_marks(proposed))
            for given in task.get("annotations") or ():
                if given.get("was_cancelled"):
                    continue
                shown = _shown(given, predictions, proposed)
                found.answers.append(
                    Answer(
                        picture,
                        tuple(_studio_marks(given)),
                        image_id=task["data"].get("vistag_id"),
                        who=_studio_user(given.get("completed_by")),
                        time=_time(given.get("updated_at") or given.get("created_at")),
                        shown=None if shown is None else tuple(_studio_marks(shown)),
                        finished=True,
                    )
                )
    except StopIteration as error:
        raise UnusableFile(f"{path}: a task names no picture in its `data`") from error
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UnusableFile(f"{path}: is no JSON export of Label Studio, a list of tasks: {error}") from error
    return found


def _proposed(predictions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of the predictions of a task the last that vistag made, else the last."""
    ours = [of for of in predictions if str(of.get("model_version", "")).startswith("vistag")]
    return next(reversed(ours or predictions), None)


def _shown(
    given: Mapping[str, Any], predictions: list[dict[str, Any]], proposed: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The prediction that an annotation began as; None where it began as nothing: what it lacks nobody took away."""
    began = given.get("prediction")
    if isinstance(began, dict) and began.get("result") is not None:
        return began
    for of in predictions:
        if of.get("id") is not None and of["id"] == given.get("parent_prediction"):
            return of
    results = given.get("result") or ()
    ids = {of.get("id") for of in (proposed or {}).get("result") or ()}
    derived = any(of.get("id") in ids or str(of.get("origin", "")).startswith("prediction") for of in results)
    return proposed if derived else None


def _studio_marks(group: Mapping[str, Any]) -> Iterator[Mark]:
    for result in group.get("result") or ():
        names, box = names_and_box(result)
        for levels in (result.get("value") or {}).get("taxonomy") or ():
            names.append(str(levels[-1]))
        for name in names:
            yield Mark(name, _inside(box), str(result["id"]) if box and result.get("id") else None)


def _studio_user(who: Any) -> str | None:
    if isinstance(who, dict):
        return (
            who.get("email")
            or who.get("username")
            or (f"Label Studio user {who['id']}" if who.get("id") else None)
        )
    return None if who is None else f"Label Studio user {who}"


def read_cvat(path: Path) -> Answers:
    """An answer a picture, of whom the task was given to."""
    root, found, problems = parsed_xml(path), Answers("CVAT"), list[str]()
    who = next(
        (name for tag in ("assignee", "owner") if (name := root.findtext(f"meta//{tag}/username"))), None
    )
    time = _time(root.findtext("meta//updated"))
    if root.find("track") is not None:
        raise UnusableFile(f"{path}: is an export of a video. Export 'CVAT for images 1.1'")
    for image in root.iter("image"):
        name = image.get("name") or ""
        marks = []
        for shape in image:
            if shape.tag not in CVAT_SHAPES:
                continue
            label = shape.get("label") or ""
            try:
                box = box_of_shape(shape)
                if box is not None:
                    box = _of_sides(box, *(float(image.attrib[side]) for side in ("width", "height")))
                marks.append(Mark(label, box, untouched=shape.get("source") in _BY_MACHINE))
            except (KeyError, ValueError, ZeroDivisionError) as error:
                problems.append(f"image {name!r}, {shape.tag} {label!r}: cannot be read ({error})")
        found.answers.append(Answer(name, tuple(marks), who=who, time=time))
    if problems:
        raise UnusableFile(
            f"{path}: {problems[0]}" + (f", and {len(problems) - 1:,} more" if problems[1:] else "")
        )
    return found


def read_coco(path: Path) -> Answers:
    """An answer a picture; categories go by their `concept_id`, where they have one, else by their name."""
    document: Document[Any] = read_document(path, Document[MaskedAnnotation])
    names = {category.id: category.concept or str(category.id) for category in document.categories}
    marks: dict[Any, list[Mark]] = {image.id: [] for image in document.images}
    sides = {image.id: (image.width, image.height) for image in document.images}
    for of in document.annotations:
        width, height = sides[of.image_id]
        box = _of_sides(box_of(of), width, height) if width and height else None
        marks[of.image_id].append(Mark(names[of.category_id], box))
    for tag in document.image_tags:
        marks[tag.image_id].append(Mark(names[tag.category_id]))
    answers = [
        Answer(image.file_name or image.coco_url or str(image.id), tuple(marks[image.id]))
        for image in document.images
    ]
    return Answers("COCO", answers)


_READERS: Mapping[str, Callable[[Path], Answers]] = {
    LABEL_STUDIO: read_label_studio,
    CVAT: read_cvat,
    COCO: read_coco,
}
PROGRAMS = tuple(_READERS)


def _of_sides(box: Box, width: float, height: float) -> Box | None:
    x, y, w, h = box
    return _inside((x / width, y / height, w / width, h / height))


def _inside(box: Box | None) -> Box | None:
    """The part of a box that lies in the picture, 0..1; programs let it reach beyond."""
    if box is None:
        return None
    if not all(map(math.isfinite, box)):
        raise ValueError(f"a box of {box}")
    left, top = (min(max(value, 0.0), 1.0) for value in box[:2])
    right, bottom = (min(max(box[n] + box[n + 2], 0.0), 1.0) for n in (0, 1))
    return round(left, 6), round(top, 6), round(right - left, 6), round(bottom - top, 6)


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
