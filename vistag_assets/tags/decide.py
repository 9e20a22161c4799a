"""One decision of one person about one tag: looked up, put into the log, and shown in the tags at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from resources.decisions import Event, Standing, fold
from resources.decisions.event import Subject
from resources.home import FolderRef
from resources.images.scan import shown
from resources.lake import CorruptPartition, MissingPartition
from resources.text import one_line
from resources.workspace import Workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.tags.decided import import_states


class UnknownSubject(LookupError):
    """The image or the concept that was named is not known; the message says what is."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the lake, in one of the folders that hold it."""

    folder: FolderRef
    path: str
    id: str
    pixel_hash: str | None


@dataclass(frozen=True, slots=True)
class Decided:
    """What was done: `event` as it is in the log (None where there was nothing to take back), `now` what stands."""

    pictures: tuple[Picture, ...]
    label: str
    event: Event | None
    now: Standing | None
    updated: tuple[str, ...]
    """keys of the folders whose tags show it"""
    waiting: tuple[str, ...]
    """keys of those whose tags follow with the next run: one is at work, or there are none yet"""


def decide(
    workspace: Workspace,
    image: str,
    concept: str,
    verdict: Literal["accept", "reject", "undo"],
    who: str,
    *,
    words: bool = False,
) -> Decided:
    """Put a person's word on a tag into the log, and into the tags of every folder that holds the image.

    image: the path of a file in a library, or a content id. concept: an id or a label of the vocabulary, or the words
    that a model proposed; with `words` also such that nobody proposed. `undo` takes back what stands.

    Raises UnknownSubject, LogUnavailable, OSError.
    """
    pictures = find_pictures(workspace, image)
    keys = list(dict.fromkeys(picture.folder.key for picture in pictures))
    for key in keys:
        import_states(workspace.home, key)
    subject, label = _subject(workspace, pictures, concept, words=words)
    first = pictures[0]
    stands = _standing(workspace, first, subject)
    if verdict == "undo" and stands is None:
        return Decided(pictures, label, None, None, (), ())
    event = Event(
        who=who,
        verdict=verdict,
        image_id=first.id,
        pixel_hash=first.pixel_hash,
        concept_id=subject[0],
        phrase=label,
        undoes=stands.event.seq if stands and verdict == "undo" else None,
        folder=first.folder.key,
        path=first.path,
        shown=_shown(workspace, first, subject),
    )
    (event,) = workspace.decisions.append([event])
    updated = [key for key in keys if update_tags(workspace, key)]
    return Decided(
        pictures,
        label,
        event,
        _standing(workspace, first, subject),
        tuple(updated),
        tuple(key for key in keys if key not in updated),
    )


def find_pictures(workspace: Workspace, image: str) -> tuple[Picture, ...]:
    """Every place of the image that a path or a content id names. Raises UnknownSubject."""
    named = list(_by_path(workspace, image)) or list(_rows(workspace, "id", image))
    if not named:
        raise UnknownSubject(
            f"{image!r} is no image of this home: give the path of a file in a library that was run, or an id of "
            "the table images"
        )
    return tuple(named) + tuple(
        picture for picture in _rows(workspace, "id", named[0].id) if picture not in named
    )


def _by_path(workspace: Workspace, image: str) -> Iterator[Picture]:
    """By a path of the disk, from where one is, or as `images` tells it: relative to its library."""
    path = image if "://" in image else os.path.abspath(Path(image).expanduser())  # noqa: PTH100
    for folder in workspace.home.folders():
        root = folder.root.rstrip("/") + "/"
        for candidate in (path, os.path.realpath(path)):
            if candidate.startswith(root):
                relative = PurePosixPath(candidate.removeprefix(root))
                if str(relative.parent) == folder.relative:
                    yield from _in_folder(workspace, folder, "path", shown(relative))
                    return
        if str(PurePosixPath(image).parent) == folder.relative:
            yield from _in_folder(workspace, folder, "path", image)


def _rows(workspace: Workspace, column: str, value: str) -> Iterator[Picture]:
    for folder in workspace.home.folders():
        yield from _in_folder(workspace, folder, column, value)


def _in_folder(workspace: Workspace, folder: FolderRef, column: str, value: str) -> Iterator[Picture]:
    for picture, also_at in pictures_in(workspace, folder):
        if column == "path" and value in (picture.path, *also_at):
            yield replace(picture, path=value)
        elif column != "path" and value == getattr(picture, column):
            yield picture


def pictures_in(workspace: Workspace, folder: FolderRef) -> Iterator[tuple[Picture, Sequence[str]]]:
    """The pictures of a folder, and where else in it each lies; none where its table cannot be read."""
    try:
        rows = workspace.lake.read_or_none("images", folder.key)
    except CorruptPartition:
        return
    if rows is None:
        return
    for row in rows.select([c for c in _COLUMNS if c in rows.column_names]).to_pylist():
        yield Picture(folder, row["path"], row["id"], row.get("pixel_hash")), row.get("also_at") or ()


_COLUMNS = ("id", "path", "also_at", "pixel_hash")


def _subject(
    workspace: Workspace, pictures: tuple[Picture, ...], concept: str, *, words: bool
) -> tuple[Subject, str]:
    """What a concept, or proposed words, are in the log, and the label to tell. Raises UnknownSubject."""
    taxonomy = workspace.taxonomy
    id_ = concept if concept in taxonomy.by_id else taxonomy.labels.concept_of(concept)
    if id_:
        return (id_, None), taxonomy.pref_labels[id_]
    for picture in pictures:
        tags = workspace.lake.read_or_none("tags", picture.folder.key, ["id", "concept_id", "phrase"])
        if tags is None:
            continue
        own = tags.filter(pc.equal(tags["id"], picture.id)).to_pylist()
        for row in own:
            if concept in (row["concept_id"], row["phrase"]):
                return (row["concept_id"], None if row["concept_id"] else row["phrase"]), row["phrase"]
    if words and (kept := one_line(concept)):
        return (None, kept), kept
    raise UnknownSubject(
        f"{concept!r} is neither an id nor a label of the vocabulary, nor proposed for this image: "
        "vistag sql 'select distinct concept_id, phrase from tags' lists what is. With --words it is kept as words, which "
        "vistag taxonomy learn proposes as a label"
    )


def _standing(workspace: Workspace, picture: Picture, subject: Subject) -> Standing | None:
    hashes = [picture.pixel_hash] if picture.pixel_hash else []
    events = workspace.decisions.about([picture.id], hashes)
    stands = fold({picture.id: picture.pixel_hash}, events, workspace.taxonomy.replaced)
    return stands.get(picture.id, {}).get(subject)


def _shown(workspace: Workspace, picture: Picture, subject: Subject) -> str | None:
    """The fingerprint of the row of `tags` that stands there; None where there is none."""
    columns = ["id", "concept_id", "phrase", "fingerprint"]
    tags = workspace.lake.read_or_none("tags", picture.folder.key, columns)
    if tags is None:
        return None
    own: pa.Table = tags.filter(pc.equal(tags["id"], picture.id))
    names = {
        (row["concept_id"], None if row["concept_id"] else row["phrase"]): row for row in own.to_pylist()
    }
    return names[subject]["fingerprint"] if subject in names else None


def update_tags(workspace: Workspace, key: str) -> bool:
    """Make the tags of a folder anew, unless a run is at work on it or has yet to make what they are made of."""
    if workspace.home.is_worked_on(key):
        return False
    try:
        with workspace.home.working_on([key]):
            update_table("tags", workspace, key)
    except MissingPartition:
        return False
    return True
