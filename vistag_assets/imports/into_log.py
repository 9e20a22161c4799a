"""Answers of a file into the decision log: which pictures of the home they are about, and what is new in them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import PurePosixPath

from resources.decisions import IMPORT_CLIENT, Event
from resources.decisions.event import Subject
from resources.lake import CorruptPartition
from resources.text import one_line
from resources.workspace import Workspace
from taxonomy.keywords import Keywords, every_label
from vistag_assets.exports.records import file_name
from vistag_assets.exports.xml_text import xml_text
from vistag_assets.imports.answers import Answer, Answers, Mark, Said, decisions_of
from vistag_assets.tags.decide import Picture, pictures_in, update_tags
from vistag_assets.tags.decided import import_states

_DIGITS = 20
_NEAR = 3


@dataclass(slots=True)
class Imported:
    """What an import came to, or would come to."""

    program: str
    answers: int = 0
    """of pictures that are in the home"""
    events: list[Event] = field(default_factory=list)
    """in the log now, where it was no dry run"""
    known: int = 0
    """answers that were imported before, or are older than what was"""
    silent: int = 0
    """answers that say nothing that could be decided"""
    unknown_pictures: list[tuple[str, str]] = field(default_factory=list)
    """name in the file, reason"""
    unknown_labels: dict[str, list[str]] = field(default_factory=dict)
    """label -> labels of the vocabulary that are written almost so"""
    updated: list[str] = field(default_factory=list)
    """folders whose tags show it"""
    waiting: list[str] = field(default_factory=list)
    """folders whose tags follow with the next run"""

    @property
    def verdicts(self) -> Counter[str]:
        return Counter(event.verdict for event in self.events)


def import_answers(
    workspace: Workspace,
    answers: Answers,
    *,
    shown: Mapping[str, Sequence[Mark]] | None = None,
    reviewed: bool = False,
    by: str,
    dry_run: bool = False,
) -> Imported:
    """Put what a file says into the log, and into the tags of the folders that hold its pictures.

    shown: picture, as its file names it -> what the person was given, where the answers do not say it themselves.
    reviewed: somebody was done with every picture. by: who said what no file says who said.
    Raises LogUnavailable, OSError.
    """
    outcome = Imported(answers.program)
    library = _Library(workspace)
    labels = _Labels(workspace, outcome)
    offered = {}
    for name, marks in (shown or {}).items():
        if isinstance(places := library.find(name), list):
            offered[places[0].id] = tuple(marks)
    matched = []
    for answer in sorted(answers.answers, key=lambda answer: answer.time or datetime.min.replace(tzinfo=UTC)):
        places = library.find(answer.picture, answer.image_id)
        if isinstance(places, str):
            outcome.unknown_pictures.append((answer.picture, places))
            continue
        if answer.shown is None and places[0].id in offered:
            answer = replace(answer, shown=offered[places[0].id])
        matched.append((places, answer))
    outcome.answers = len(matched)
    _append(workspace, outcome, labels, matched, reviewed=reviewed, by=by, dry_run=dry_run)
    return outcome


def _append(
    workspace: Workspace,
    outcome: Imported,
    labels: _Labels,
    matched: Sequence[tuple[list[Picture], Answer]],
    *,
    reviewed: bool,
    by: str,
    dry_run: bool,
) -> None:
    keys = sorted({place.folder.key for places, _ in matched for place in places})
    if not dry_run:
        for key in keys:
            import_states(workspace.home, key)
    last = _last_imports(workspace, {places[0].id for places, _ in matched})
    for places, answer in matched:
        first, who = places[0], one_line(answer.who or by)
        said = [
            found
            for each in decisions_of(answer, reviewed=reviewed)
            for found in labels.resolved(first, each)
        ]
        if not said:
            outcome.silent += 1
            continue
        digest, before = _digest(first.id, who, said), last.get((first.id, who))
        if before and (before.digest == digest or (answer.time and answer.time <= before.time)):
            outcome.known += 1
            continue
        events = list(
            _events(first, answer, said, who, f"{IMPORT_CLIENT}{digest}-{before.digest if before else ''}")
        )
        outcome.events += events
        last[first.id, who] = _Last(digest, answer.time or events[-1].time)
    if dry_run:
        return
    outcome.events = workspace.decisions.append(outcome.events)
    touched = {event.image_id for event in outcome.events}
    for key in sorted({p.folder.key for places, _ in matched for p in places if places[0].id in touched}):
        (outcome.updated if update_tags(workspace, key) else outcome.waiting).append(key)


@dataclass(frozen=True, slots=True)
class _Decided:
    """A decision on a concept, or on words that the vocabulary has none for."""

    said: Said
    subject: Subject
    label: str
    corrected_to: str | None
    shown: str | None
    """fingerprint of the row of `tags`"""


@dataclass(frozen=True, slots=True)
class _Last:
    digest: str
    time: datetime


def _events(
    first: Picture, answer: Answer, said: Sequence[_Decided], who: str, client: str
) -> Iterator[Event]:
    time = answer.time or datetime.now(UTC)
    for number, of in enumerate(said):
        yield Event(
            who=who,
            verdict=of.said.verdict,
            image_id=first.id,
            pixel_hash=first.pixel_hash,
            concept_id=of.subject[0],
            phrase=of.label,
            corrected_to=of.corrected_to,
            region_id=of.said.region_id and one_line(of.said.region_id),
            box=of.said.box,
            folder=first.folder.key,
            path=first.path,
            shown=of.shown,
            time=time,
            client_id=f"{client}-{number}",
        )


def _digest(id_: str, who: str, said: Iterable[_Decided]) -> str:
    """Of what an answer says, whatever file it came in."""
    content = [(of.said.verdict, of.subject, of.corrected_to, of.said.region_id, of.said.box) for of in said]
    return hashlib.sha256(
        repr((id_, who, sorted(content, key=repr))).encode("utf-8", "surrogatepass")
    ).hexdigest()[:_DIGITS]


def _last_imports(workspace: Workspace, ids: set[str]) -> dict[tuple[str, str], _Last]:
    """(picture, who) -> what was imported last: an answer is new where it says something else."""
    found = {}
    for event in workspace.decisions.about(ids):
        if event.client_id.startswith(IMPORT_CLIENT):
            digest = event.client_id.removeprefix(IMPORT_CLIENT).partition("-")[0]
            found[event.image_id, event.who] = _Last(digest, event.time)
    return found


class _Library:
    """The pictures of a home, by name and content id."""

    def __init__(self, workspace: Workspace) -> None:
        self._of_id: dict[str, list[Picture]] = defaultdict(list)
        self._of_name: dict[str, list[tuple[str, str]]] = defaultdict(list)
        """last part of the path -> (library and path, content id)"""
        for folder in workspace.home.folders():
            for picture, also_at in pictures_in(workspace, folder):
                self._of_id[picture.id].append(picture)
                for path in (picture.path, *also_at):
                    name = f"{folder.library}/{file_name(path)}"
                    self._of_name[PurePosixPath(name).name].append((name, picture.id))

    def find(self, name: str, id_: str | None = None) -> list[Picture] | str:
        """The places of a picture; a sentence where it is none of the home, or several are called so."""
        if id_ in self._of_id:
            return self._of_id[str(id_)]
        own = name.replace("\\", "/").strip("/")
        for called in (own, str(PurePosixPath(own).with_suffix("")) if PurePosixPath(own).suffix else own):
            candidates = self._of_name.get(PurePosixPath(called).name, ())
            ids = {
                of
                for full, of in candidates
                if f"/{called}".endswith(f"/{full}") or f"/{full}".endswith(f"/{called}")
            }
            if len(ids) == 1:
                return self._of_id[ids.pop()]
            if ids:
                return f"{len(ids):,} pictures of this home are called so: name them with library and folder"
        return "no picture of this home is called so: it is found by library and path, as vistag export writes it"


class _Labels:
    """What the labels of a file are in the vocabulary, or among the words that were proposed for a picture."""

    def __init__(self, workspace: Workspace, outcome: Imported) -> None:
        self._workspace, self._outcome = workspace, outcome
        self._find: Callable[[str], str | None] = Keywords(workspace.taxonomy).concept_of
        self._every: list[str] = []
        self._rows: dict[str, dict[str, list[tuple[Subject, str, str]]]] = {}

    def resolved(self, picture: Picture, said: Said) -> list[_Decided]:
        """What it comes to here. Unknown labels are told; those that a person set are kept as words that the vocabulary
        has no concept for, and those that a person took away say nothing.
        """
        if said.corrected_to is not None:
            to = self._subject(picture, said.corrected_to)
            if to is None or to[0][0] is None:
                region = said.region_id
                parts = (
                    Said("reject", said.label, region_id=region),
                    Said("accept", said.corrected_to, region_id=region),
                )
                return [decided for part in parts for decided in self.resolved(picture, part)]
            found = self._subject(picture, said.label)
            return [_Decided(said, found[0], found[1], to[0][0], found[2])] if found else []
        found = self._subject(picture, said.label)
        if found is None:
            words = one_line(said.label)
            is_set = said.verdict in ("accept", "redraw") and words
            return [_Decided(said, (None, words), words, None, None)] if is_set else []
        subject, label, shown = found
        return [_Decided(said, subject, label, None, shown)]

    def _subject(self, picture: Picture, label: str) -> tuple[Subject, str, str | None] | None:
        rows = self._tags(picture.folder.key).get(picture.id, [])
        if id_ := self._find(label):
            shown = next((print_ for subject, _, print_ in rows if subject[0] == id_), None)
            return (id_, None), self._workspace.taxonomy.pref_labels[id_], shown
        for subject, phrase, print_ in rows:
            if label in (phrase, xml_text(phrase)):
                return subject, phrase, print_
        if label not in self._outcome.unknown_labels:
            self._every = self._every or [
                x for c in self._workspace.taxonomy.concepts for x in every_label(c)
            ]
            self._outcome.unknown_labels[label] = list(
                dict.fromkeys(get_close_matches(label, self._every, _NEAR))
            )
        return None

    def _tags(self, key: str) -> Mapping[str, list[tuple[Subject, str, str]]]:
        """Picture -> its tags as (subject, words, fingerprint)."""
        if key not in self._rows:
            self._rows[key] = defaultdict(list)
            columns = ["id", "concept_id", "phrase", "fingerprint"]
            try:
                rows = self._workspace.lake.read_or_none("tags", key, columns)
            except CorruptPartition:
                rows = None
            for row in rows.to_pylist() if rows is not None else ():
                subject = (row["concept_id"], None if row["concept_id"] else row["phrase"])
                self._rows[key][row["id"]].append((subject, row["phrase"], row["fingerprint"]))
        return self._rows[key]
