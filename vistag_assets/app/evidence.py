"""Everything that stands behind what is said of one picture: rows of the lake, and what people decided since."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from resources.decisions import Event, Standing, fold
from resources.decisions.event import Box, Subject
from resources.workspace import Workspace
from vistag_assets.app.catalogue import Row, stored_rows
from vistag_assets.gallery import Card, cards_of
from vistag_assets.gallery.cards import OTHER_FACET, TagLine
from vistag_assets.gallery.pages import TABLES, with_outlines

Rows = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Source:
    """What one model says of a tag."""

    name: str
    value: float
    """0..1"""
    model: str
    """of the tier as it is now"""
    told: str
    """what else it says"""
    asked: str
    """the prompt, where there is one"""
    fingerprint: str
    """of the row"""


@dataclass(frozen=True, slots=True)
class Said:
    """A person's word that stands."""

    state: str
    """human or rejected"""
    who: str
    when: datetime
    seq: int
    box: Box | None
    """that they drew"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A tag with all that is known of it."""

    line: TagLine
    sources: tuple[Source, ...]
    said: Said | None

    @property
    def state(self) -> str:
        """Of now; the lake's is of the last run."""
        return self.said.state if self.said else "machine"

    @property
    def cited(self) -> tuple[str, ...]:
        """Names of the boxes that it lights, a person's first."""
        drawn = (f"drawn-{self.said.seq}",) if self.said and self.said.box else ()
        return (*drawn, *self.line.region_ids)


@dataclass(frozen=True, slots=True)
class View:
    """A picture as its page shows it."""

    folder: str
    card: Card
    tags: tuple[Shown, ...]
    keywords: tuple[str, ...]
    """of people and their programs, from the file and its sidecars"""
    history: tuple[Event, ...]
    """all that people said of the picture, the last first"""


def view_of(workspace: Workspace, folder: str, image_id: str) -> View | None:
    """None where the folder holds no such image. Raises LogUnavailable."""
    rows = _rows_of(workspace, folder, image_id)
    cards = cards_of(rows, workspace.taxonomy) if rows.get("images") and rows.get("proxies") else []
    if not cards:
        return None
    masks = {row["region_id"]: row for row in rows.get("region_masks", ())}
    card = with_outlines(cards[0], masks)
    pixels = rows["images"][0].get("pixel_hash")
    events = workspace.decisions.about([image_id], [pixels] if pixels else [])
    stands = fold({image_id: pixels}, events, workspace.taxonomy.replaced).get(image_id, {})
    shown = [
        Shown(tag, tuple(_sources(tag, rows, workspace)), _said(stands.pop(_subject(tag), None)))
        for tag in card.tags
    ]
    shown += [
        Shown(_only_said(subject, standing, workspace), (), _said(standing))
        for subject, standing in stands.items()
    ]
    return View(
        folder,
        card,
        tuple(shown),
        tuple(rows["images"][0].get("keywords") or ()),
        tuple(reversed(events)),
    )


def _rows_of(workspace: Workspace, folder: str, image_id: str) -> dict[str, list[Row]]:
    """Table -> the rows of one image."""
    read = (
        (table, stored_rows(workspace, table, folder, [image_id])) for table in (*TABLES, "tagger_scores")
    )
    return {table: rows for table, rows in read if rows is not None}


def _subject(tag: TagLine) -> Subject:
    return (tag.concept_id, None if tag.concept_id else tag.label)


def _said(standing: Standing | None) -> Said | None:
    if standing is None:
        return None
    event = standing.event
    return Said(
        "human" if standing.accepted else "rejected", event.who, event.time, event.seq or 0, event.box
    )


def _only_said(subject: Subject, standing: Standing, workspace: Workspace) -> TagLine:
    """A tag that only a person speaks for."""
    concept_id, phrase = subject
    taxonomy = workspace.taxonomy
    known = taxonomy.by_id.get(concept_id or "")
    return TagLine(
        taxonomy.shown_labels[known.id] if known else phrase or concept_id or "",
        taxonomy.facet_of(known.id) if known else OTHER_FACET,
        probability=0.0,
        state="human" if standing.accepted else "rejected",
        needs_review=False,
        ungrounded=False,
        region_ids=(standing.event.region_id,) if standing.event.region_id else (),
        evidence=(),
        concept_id=concept_id,
    )


# ---- what each source says


def _sources(tag: TagLine, rows: Rows, workspace: Workspace) -> Iterator[Source]:
    """In the order in which evidence is gathered."""
    tier = workspace.tier
    regions = set(tag.region_ids)

    def own(table: str) -> list[Row]:
        return [row for row in rows.get(table, ()) if row["region_id"] in regions]

    def model(role: str) -> str:
        spec = getattr(tier, role)
        return "" if spec is None else f"{getattr(spec, 'name', '')} ({spec.family})".strip()

    for row in _of_concept(rows, "tag_scores", tag):
        lent = f", lent by {row['inherited_from']}" if row.get("inherited_from") else ""
        yield _source("whole picture", row["probability"], model("encoder"), row, _figures(row) + lent)
    for row in own("grounded_regions"):
        told = f"{_short(row)}: “{row['phrase']}”"
        yield _source("detector", row["score"], model("detector"), row, told, row.get("prompt"))
    for row in own("region_matches"):
        if row["concept_id"] == tag.concept_id:
            told = f"{_short(row)}: {row['verdict']}; {_figures(row)}"
            yield _source("crop", row["probability"], model("encoder"), row, told)
    listing = tier.vlm.question("tags") if tier.vlm else None
    for row in rows.get("captions", ()):
        for keyword in row["keywords"] or ():
            if keyword["concept_id"] == tag.concept_id if tag.concept_id else keyword["phrase"] == tag.label:
                told, asked = f"keyword “{keyword['phrase']}”", listing.prompt if listing else None
                yield _source(
                    "language model", _probability(keyword["logprob"]), model("vlm"), row, told, asked
                )
    for row in own("region_captions"):
        told, value = f"{_short(row)}: “{row['caption']}”", _probability(row["mean_logprob"])
        yield _source("crop in words", value, model("vlm"), row, told)
    if any(evidence.source == "text in the picture" for evidence in tag.evidence):
        for row in rows.get("ocr_text", ()):
            told = f"line {row['line'] + 1}: “{row['text']}”"
            yield _source("text", row["confidence"], model("ocr"), row, told)
    for row in rows.get("tagger_scores", ()):
        labels = workspace.taxonomy.labels
        if tag.concept_id and tag.concept_id in (
            [row["concept_id"]] if row["concept_id"] else labels.concepts_of(row["tag"])
        ):
            told = (
                f"“{row['tag']}”, rank {row['rank']}; its makers take it for seen from {row['threshold']:.2f}"
            )
            yield _source("tagger", row["score"], model("tagger"), row, told)


def _source(name: str, value: float, model: str, row: Row, told: str, asked: str | None = None) -> Source:
    return Source(name, value, model, told, asked or "", row.get("fingerprint") or "")


def _figures(row: Row) -> str:
    """What an encoder says; rows of an older home have less."""
    known = {name: row[name] for name in ("cosine", "logit", "rank") if row.get(name) is not None}
    return ", ".join(f"{name} {value:.4g}" for name, value in known.items())


def _of_concept(rows: Rows, table: str, tag: TagLine) -> list[Row]:
    return [row for row in rows.get(table, ()) if tag.concept_id and row["concept_id"] == tag.concept_id]


def _short(row: Row) -> str:
    return str(row["region_id"]).rsplit("-", 1)[-1]


def _probability(logprob: float | None) -> float:
    return 0.0 if logprob is None else math.exp(min(0.0, logprob))
