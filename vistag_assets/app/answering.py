"""What the assets would say of a picture, now: the same stages in the same order, over a lake of a few pictures.

Pictures that are asked about at one moment become a folder of a home that lasts as long as they are worked on. Its
tables are made by the assets of the real one, whose models stay loaded; so an answer is, row for row, what a run would
have written. Only the lane of a picture, which a run decides within the budget of a whole folder, is decided for each
alone, unless the lake knows it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from resources.fingerprint import fingerprint
from resources.home import FolderRef, Home
from resources.lake import MissingPartition, failed_ids
from resources.lake.versions import glance
from resources.models.tiers import role_specs
from resources.tables import ROUTING
from resources.workspace import Workspace
from vistag_assets.folder_asset import Folder, declared
from vistag_assets.ingest.files import ingest_files
from vistag_assets.language.lanes import gather_signals, route
from vistag_assets.progress import Meter
from vistag_assets.whole_image.calibration import FILE as CALIBRATION

Row = dict[str, Any]
Kind = Literal["caption", "tags", "describe", "regions"]
Lane = Literal["fast", "heavy"]
TARGETS: Mapping[Kind, tuple[str, ...]] = {
    "caption": ("captions", "ocr_text"),
    "tags": ("tags",),
    "describe": ("descriptions",),
    "regions": ("grounded_regions", "region_masks", "region_matches", "region_captions"),
}
"""The tables whose rows are the answer; the first one is what it is about."""
_KEY, _PHRASES, _ROUTING_VERSION = "asked", "concept_embeddings", 1
_OF_FILE = ("id", "width", "height", "format", "frames", "pixel_hash", "colour", "notes")


@dataclass(frozen=True, slots=True)
class Question:
    """A picture, and what is asked of it."""

    kind: Kind
    content: bytes
    """of its file"""
    suffix: str = ".jpg"
    lane: Lane | None = None
    """of the description; None: as the lake has it, else as the picture itself calls for"""

    @property
    def id(self) -> str:
        return hashlib.sha256(self.content).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of the lake that a run would make of the picture."""

    image: Row
    tables: Mapping[str, list[Row]]


class NoAnswer(Exception):
    """Why a picture has no answer. `status`: what HTTP calls such a reason."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Answerer:
    """Answers questions with the models of a home, which stay loaded. For one thread at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._run: dict[Any, Any] = {}
        self._run_of = ""

    def warm(self) -> None:
        """Load every model that an answer needs. Raises what keeps one from being loaded."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "PNG")
        for told in self.answer([Question(kind, file.getvalue(), ".png", "fast") for kind in TARGETS]):
            if isinstance(told, Exception) and not isinstance(told, NoAnswer):
                raise told

    def answer(self, questions: Sequence[Question]) -> list[Answer | Exception]:
        """An answer, or why there is none, for each: those of one kind are worked on together."""
        answers: dict[int, Answer | Exception] = {}
        for kind, lane in dict.fromkeys((question.kind, question.lane) for question in questions):
            places = [n for n, asked in enumerate(questions) if (asked.kind, asked.lane) == (kind, lane)]
            told = self._of_one_kind(kind, lane, [questions[place] for place in places])
            answers |= dict(zip(places, told, strict=True))
        return [answers[place] for place in range(len(questions))]

    def _of_one_kind(
        self, kind: Kind, lane: Lane | None, questions: Sequence[Question]
    ) -> list[Answer | Exception]:
        workspace, targets = self._workspace, TARGETS[kind]
        asset = declared(targets[0])
        if asset and (why := asset.lacks_model(workspace.tier)):
            return [NoAnswer(501, f"{why}.")] * len(questions)
        try:
            with self._scratch(questions) as scratch:
                for table in _needed(targets):
                    self._make(scratch, table, lane)
                return [_read(scratch, targets, question.id) for question in questions]
        except Exception as error:  # each who asked is told
            return [error] * len(questions)

    @contextmanager
    def _scratch(self, questions: Sequence[Question]) -> Iterator[Workspace]:
        """A home for these pictures alone, with the vocabulary, the models and the decisions of the real one."""
        real = self._workspace
        with TemporaryDirectory(prefix="vistag-asked-") as directory:
            home, library = Home(Path(directory) / "home"), Path(directory) / "library"
            library.mkdir()
            home.root.mkdir()
            for question in questions:
                (library / f"{question.id}{question.suffix}").write_bytes(question.content)
            self._share(home)
            scratch = replace(real, home=home, settings=real.settings.model_copy(update={"lake": None}))
            shared = ("taxonomy", "decisions", "heavy_vlm", "repair", *role_specs(real.tier))
            # what the real one has made; what is made here is handed back below
            vars(scratch).update({name: vars(real)[name] for name in shared if name in vars(real)})
            folder = FolderRef(_KEY, "asked", str(library), ".")
            home.register(folder)
            ingest_files(scratch, folder, Meter("Reading"))
            yield scratch
            vars(real).update({name: vars(scratch)[name] for name in shared if name in vars(scratch)})

    def _share(self, home: Home) -> None:
        """The embedded vocabulary, and the calibration, of the real home. Raises MissingPartition."""
        real = self._workspace
        phrases = real.lake.data_file(_PHRASES)
        if not phrases.is_file():
            raise MissingPartition(
                "The vocabulary of this home is not embedded yet: vistag run FOLDER does it."
            )
        here = home.lake.data_file(_PHRASES)
        if isinstance(phrases, Path) and isinstance(here, Path):
            here.parent.mkdir(parents=True)
            here.symlink_to(phrases.absolute())
        else:
            home.lake.write(_PHRASES, real.lake.read(_PHRASES))
        files = [phrases]
        if (own := real.home.root / CALIBRATION).is_file():
            (home.root / CALIBRATION).symlink_to(own.absolute())
            files.append(own)
        if (version := glance(files)) != self._run_of:
            self._run, self._run_of = {}, version

    def _make(self, scratch: Workspace, table: str, lane: Lane | None) -> None:
        if table == ROUTING.name:
            scratch.lake.write(table, self._routed(scratch, lane), _KEY)
            return
        asset = declared(table)
        if asset and not asset.lacks_model(scratch.tier):
            asset.update_folder(Folder(scratch, _KEY, asset.version, self._run), Meter(asset.title))

    def _routed(self, scratch: Workspace, lane: Lane | None) -> pa.Table:
        """Each picture as if it were a folder of its own, but for what is asked and what the lake says."""
        lake, tier = scratch.lake, scratch.tier
        scores, captions, texts = (
            lake.read_or_none(table, _KEY) for table in ("tag_scores", "captions", "ocr_text")
        )
        ids = lake.read("proxies", _KEY, ["id"])["id"].to_pylist()
        known = _lanes(self._workspace, ids)
        rows = []
        for signals in gather_signals(ids, scores, captions, texts, tier.routing):
            (own,) = route([signals], tier.routing, tier.option)
            chosen = lane or known.get(own.id) or own.lane
            stamp = fingerprint(lane=chosen, version=_ROUTING_VERSION)
            rows.append(
                {
                    "id": own.id,
                    "lane": chosen,
                    "reasons": own.reasons,
                    "priority": own.priority,
                    "fingerprint": stamp,
                }
            )
        return pa.Table.from_pylist(rows, ROUTING.schema)


@cache
def _needed(targets: tuple[str, ...]) -> tuple[str, ...]:
    """The tables to be made for these, those before that they are made of; `images`, `proxies` and phrases are there."""
    ordered: dict[str, None] = {}

    def add(table: str) -> None:
        asset = declared(table)
        if asset is None or table in ordered:
            return
        for source in asset.inputs:
            add(source)
        ordered[table] = None

    for table in targets:
        add(table)
    return tuple(ordered)


def _read(scratch: Workspace, targets: Sequence[str], image_id: str) -> Answer | Exception:
    images = scratch.lake.rows_of("images", _KEY, [image_id])
    if images is None or not images.num_rows:
        rejects = scratch.lake.read("rejects", _KEY).to_pylist()
        why = next((row["reason"] for row in rejects if row["path"].startswith(image_id)), "it is no picture")
        return NoAnswer(422, f"This file cannot be used: {why}")
    tables: dict[str, list[Row]] = {}
    for table in targets:
        if (rows := scratch.lake.read_or_none(table, _KEY)) is None:
            continue
        if reason := failed_ids(rows).get(image_id):
            return NoAnswer(502, f"The model gave no answer: {reason}")
        tables[table] = [row for row in rows.to_pylist() if row["id"] == image_id]
    image = images.select([name for name in _OF_FILE if name in images.column_names]).to_pylist()[0]
    return Answer(image, tables)


def _lanes(workspace: Workspace, ids: Sequence[str]) -> dict[str, str]:
    """The lanes that a run gave to pictures of the lake."""
    lake, found = workspace.lake, dict[str, str]()
    for key in lake.folders(ROUTING.name):
        rows = lake.rows_of(ROUTING.name, key, ids)
        found |= {} if rows is None else {row["id"]: row["lane"] for row in rows.to_pylist()}
    return found
