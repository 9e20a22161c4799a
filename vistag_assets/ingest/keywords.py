"""People's keywords as concepts: of the pictures of a home, from its table, or of any folder, from its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from resources.decisions import DecisionLog, Event
from resources.images import Found, Limits, scan_folder, walk_folders
from resources.images.describing import Describer
from resources.lake import Lake
from taxonomy import Taxonomy
from taxonomy.keywords import SEPARATOR, Keywords, Meant, every_label

_COLUMNS = ("id", "pixel_hash", "path", "keywords", "keyword_paths")
_AT_ONCE = 5_000
_NEAR = 0.75
"""Of the characters that two words share: less is chance."""
_NEAREST_OF = 200
"""Names for which the nearest label is looked for: it takes time by the size of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Keyworded:
    """A picture of the lake, and what its keywords mean."""

    folder: str
    id: str
    pixel_hash: str | None
    path: str
    meant: Meant


@dataclass(slots=True)
class Told:
    """What the keywords of many pictures came to: keyword or concept -> pictures."""

    pictures: int = 0
    described: int = 0
    """of them with a keyword"""
    concepts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)
    candidates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """ambiguous keyword -> ids of the concepts that it may mean"""

    def add(self, meant: Meant) -> None:
        self.pictures += 1
        self.described += bool(meant.concepts or meant.unknown or meant.ambiguous)
        self.concepts.update(meant.concepts)
        self.unknown.update(meant.unknown)
        self.ambiguous.update(name for name, _ in meant.ambiguous)
        self.candidates.update(meant.ambiguous)

    def nearest(self, taxonomy: Taxonomy) -> dict[str, str]:
        """Unknown keyword -> the label that is written most like it, of the most frequent ones."""
        labels = {label.casefold(): label for concept in taxonomy.concepts for label in every_label(concept)}
        found = {}
        for name, _ in most_frequent(self.unknown)[:_NEAREST_OF]:
            if close := get_close_matches(name.rpartition(SEPARATOR)[2].casefold(), labels, 1, _NEAR):
                found[name] = labels[close[0]]
        return found


def most_frequent(of: Counter[str]) -> list[tuple[str, int]]:
    return sorted(of.items(), key=lambda item: (-item[1], item[0]))


def keywords_in_lake(lake: Lake, folders: Sequence[str], taxonomy: Taxonomy) -> Iterator[Keyworded]:
    """What the keywords of the pictures of some folders mean; rows whose files nobody has read yet have none."""
    keywords = Keywords(taxonomy)
    for folder in folders:
        rows = lake.read_or_none("images", folder)
        names = () if rows is None else [name for name in _COLUMNS if name in rows.column_names]
        for row in rows.select(names).to_pylist() if rows is not None else ():
            meant = keywords.meant(row.get("keywords") or (), row.get("keyword_paths") or ())
            yield Keyworded(folder, row["id"], row.get("pixel_hash"), row["path"], meant)


def accept(log: DecisionLog, pictures: Iterable[Keyworded]) -> int:
    """Keep what keywords mean as decisions whose source is the file: each once, whatever is said later.

    Returns how many there are of these pictures. Raises LogUnavailable.
    """
    events = [
        Event(
            who="keyword",
            verdict="accept",
            image_id=picture.id,
            pixel_hash=picture.pixel_hash,
            concept_id=concept_id,
            source="file",
            folder=picture.folder,
            path=picture.path,
            client_id=f"keyword-{picture.id}-{concept_id}",
        )
        for picture in pictures
        for concept_id in sorted(picture.meant.concepts)
    ]
    for start in range(0, len(events), _AT_ONCE):
        log.append(events[start : start + _AT_ONCE])
    return len(events)


def keywords_in_files(
    folder: Path, taxonomy: Taxonomy, limits: Limits | None = None
) -> Iterator[tuple[Path, Meant]]:
    """What the keywords of the picture files of a folder, and of those below it, mean. No pixel is decoded.

    A file is read as the ingest reads it, in a process of its own, and its sidecars with it. Raises NotADirectoryError.
    """
    keywords = Keywords(taxonomy)
    describer = Describer(folder, limits or Limits(), {})
    for listing in walk_folders(folder):
        for found in scan_folder(folder / listing.folder, folder):
            if isinstance(found, Found) and isinstance(found.file, Path):
                columns = describer.columns("", [found])
                yield found.file, keywords.meant(columns["keywords"], columns["keyword_paths"])
