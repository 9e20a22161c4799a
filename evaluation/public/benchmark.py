"""A public benchmark: which files it is of, and how a part of it becomes a library, a vocabulary and a ground truth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.public.fetching import BenchmarkError, Data, Source, Watcher
from evaluation.public.tail_first import tail_first
from resources.lake.files import replace_file
from taxonomy import Concept, Taxonomy, write_taxonomy

TRUTH, VOCABULARY, CREDITS, IMAGES = "ground_truth.json", "vocabulary.csv", "credits.csv", "images"
MOST_LACKING = 0.01
"""Share of the pictures that may be missing at their publisher: figures of fewer would be of another benchmark."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the annotations of a benchmark hold."""

    shown: Mapping[str, set[str]]
    """file name -> ids of the concepts that it shows"""
    sources: Mapping[str, Source]
    """file name -> where it is published"""
    concepts: Sequence[Concept]
    truth: dict[str, Any]
    """JSON of annotations as `readers.coco` reads it"""
    credits: Sequence[tuple[str, ...]] = ()
    """header and rows: who made which picture"""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name of `vistag benchmark`."""

    name: str
    annotations: Sequence[Source]
    choose: Callable[[list[Path]], Chosen]
    licence: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run needs, on the disk."""

    library: Path
    truth: Path
    vocabulary: Path
    images: int
    of: int
    """pictures of the whole benchmark"""
    lacking: list[str] = field(default_factory=list)
    """pictures that could not be had, with why; they are not in the truth"""


def prepare(benchmark: Benchmark, data: Data, images: int | None, watcher: Watcher) -> Prepared:
    """Fetch what is not there, of `images` pictures or all, the rarest first. Raises BenchmarkError, UnusableFile, OSError.

    Pictures of earlier, larger parts stay where they are and are not in the truth.
    """
    files = []
    for number, source in enumerate(benchmark.annotations, start=1):
        files.append(data.file(source))
        watcher("Fetching annotations", number, len(benchmark.annotations))
    chosen = benchmark.choose(files)
    names = tail_first(chosen.shown, images)
    if not names:
        raise BenchmarkError(f"{files[0]}: names no picture that this benchmark is of")
    failed = data.files([chosen.sources[name] for name in names], watcher, "Fetching pictures")
    lacking = {Path(source.name).name: reason for source, reason in failed}
    if len(lacking) > MOST_LACKING * len(names):
        first = next(iter(lacking.values()))
        raise BenchmarkError(
            f"{len(lacking):,} of {len(names):,} pictures could not be had; what came is kept, and the next run goes on "
            f"from there. The first: {first}"
        )
    kept = set(names) - lacking.keys()
    _write(data.folder / TRUTH, json.dumps(_part(chosen.truth, kept), ensure_ascii=False).encode())
    write_taxonomy(Taxonomy(tuple(chosen.concepts)), data.folder / VOCABULARY)
    if chosen.credits:
        _write(data.folder / CREDITS, _as_csv(chosen.credits))
    return Prepared(
        data.folder / IMAGES,
        data.folder / TRUTH,
        data.folder / VOCABULARY,
        len(kept),
        len(chosen.shown),
        [f"{name}: {reason}" for name, reason in sorted(lacking.items())],
    )


def _part(truth: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    images = [image for image in truth["images"] if image["file_name"] in names]
    ids = {image["id"] for image in images}
    rows = {
        key: [row for row in truth[key] if row["image_id"] in ids]
        for key in ("annotations", "image_tags")
        if key in truth
    }
    return {**truth, "images": images, **rows}


def _as_csv(rows: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    with replace_file(path) as file:
        file.write(content)
