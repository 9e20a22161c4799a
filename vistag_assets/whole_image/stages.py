"""What each asset does for one folder: read from the lake, call a pure function, update the lake."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.fingerprint import fingerprint
from resources.home import FolderRef
from resources.images import (
    IMAGES_SCHEMA,
    PROXIES_SCHEMA,
    REJECTS_SCHEMA,
    ingest_folder,
    open_proxy,
    prune_proxies,
)
from resources.lake import (
    CorruptPartition,
    UpdateStats,
    embedding_column,
    embedding_matrix,
    read_stored,
    update_partition,
)
from resources.models.encoders import embed_in_batches
from resources.object_store import Location, ObjectPath, location
from resources.workspace import Workspace
from vistag_assets.lineage import column_by_id, derived
from vistag_assets.progress import Meter
from vistag_assets.whole_image.scoring import TAG_SCORES, Scorer, lenders_of, pool_phrases, score_images

# To be raised when a stage would compute other rows from the same inputs.
EMBEDDING_VERSION = 1
SCORING_VERSION = 1

_log = logging.getLogger(__name__)
_INGESTED = {"proxies": PROXIES_SCHEMA, "rejects": REJECTS_SCHEMA, "images": IMAGES_SCHEMA}


@dataclass(frozen=True, slots=True)
class IngestStats:
    """One folder, in numbers of images and of rejected files; `removed`: images that are no longer there.

    `quarantined`: by table, where its damaged file went. `gone`: why the rows were left as they were, if they were.
    """

    images: int
    rejects: int
    decoded: int
    kept: int
    removed: int
    quarantined: Mapping[str, Path]
    gone: str | None = None


def embeddings_schema(dimension: int) -> pa.Schema:
    vector = pa.list_(pa.float16(), dimension)
    return pa.schema([("id", pa.string()), ("embedding", vector), ("fingerprint", pa.string())])


def concept_embeddings_schema(dimension: int) -> pa.Schema:
    vector = pa.list_(pa.float16(), dimension)
    return pa.schema(
        [
            ("concept_id", pa.string()),
            ("text", pa.string()),
            ("embedding", vector),
            ("fingerprint", pa.string()),
        ]
    )


def ingest(workspace: Workspace, folder: FolderRef, meter: Meter) -> IngestStats:
    """Bring `images`, `rejects` and `proxies` of a folder up to date with its files.

    A folder that is marked as gone, or that vanishes, keeps its rows: its disk may come back. Raises CorruptPartition
    where those are damaged: there are no files to make them of; FileNotFoundError where all of the library vanished.
    """
    if folder.gone_since:
        return _keep(workspace, folder.key, f"gone since {folder.gone_since}")
    known: dict[str, pa.Table | None] = {}
    quarantined: dict[str, Path] = {}
    for table, schema in _INGESTED.items():
        with workspace.lake.locked(table, folder.key):
            stored = read_stored(workspace.lake, table, folder.key, schema)
        known[table] = stored.rows
        if stored.quarantined:
            quarantined[table] = stored.quarantined
    try:
        with meter.timed():
            found = ingest_folder(
                folder.directory,
                location(folder.root),
                workspace.home.root,
                workspace.limits,
                known["images"],
                known["rejects"],
                known["proxies"],
                on_progress=meter.folder(),
            )
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename != str(folder.directory) or not _holds_anything(location(folder.root)):
            raise
        _log.warning("%s: %s; what the lake holds of it stays", folder.directory, error.strerror)
        kept = _keep(workspace, folder.key, "not there when the run came to it")
        return replace(kept, quarantined=quarantined)
    # images last: whoever sees an image finds its proxy
    for table, rows in (("proxies", found.proxies), ("rejects", found.rejects), ("images", found.images)):
        if not _same_rows(known[table], rows):
            workspace.lake.write(table, rows, folder.key)
    removed = _count_missing(known["images"], found.images)
    return IngestStats(
        found.images.num_rows, found.rejects.num_rows, found.decoded, found.kept, removed, quarantined
    )


def _holds_anything(root: Location) -> bool:
    """Whether a library is there: an empty folder is what a disk leaves that is not mounted."""
    return root.is_dir() and (isinstance(root, ObjectPath) or any(root.iterdir()))


def _keep(workspace: Workspace, key: str, why: str) -> IngestStats:
    """Leave the tables of a folder as they are; empty ones where it went before there were any."""
    rows = {}
    for table, schema in _INGESTED.items():
        stored = workspace.lake.read_or_none(table, key)
        if stored is None:
            workspace.lake.write(table, schema.empty_table(), key)
        rows[table] = 0 if stored is None else stored.num_rows
    return IngestStats(rows["images"], rows["rejects"], 0, rows["images"], 0, {}, why)


def prune(workspace: Workspace) -> int:
    """Remove the proxies that no folder names any more; returns how many.

    None are removed while a folder's table of proxies is damaged: what it names is not known.
    """
    try:
        named = workspace.lake.read_all("proxies", ["path"])["path"].to_pylist()
    except CorruptPartition as error:
        _log.warning("no proxy is removed, because it is not known which are needed: %s", error.problem)
        return 0
    return prune_proxies(workspace.home.root, named)


def embed_images(workspace: Workspace, key: str, meter: Meter) -> UpdateStats:
    """Bring `global_embeddings` of a folder up to date with its proxies."""
    encoder, home_root = workspace.encoder, workspace.home.root
    schema = embeddings_schema(encoder.dimension)
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    path_of = column_by_id(proxies, "path")
    wanted = derived(proxies, encoder=encoder.fingerprint, version=EMBEDDING_VERSION)
    wanted_fingerprint = column_by_id(wanted, "fingerprint")

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        encoder.load()
        with meter.timed():
            batches = embed_in_batches(encoder, ids, lambda id_: open_proxy(home_root, path_of[id_]))
            for batch, vectors in batches:
                fingerprints = [wanted_fingerprint[id_] for id_ in batch]
                yield pa.table([batch, embedding_column(vectors), fingerprints], schema=schema)

    return update_partition(
        workspace.lake, "global_embeddings", key, wanted, schema, compute, on_progress=meter.folder()
    )


def embed_concepts(workspace: Workspace) -> UpdateStats:
    """Bring `concept_embeddings` up to date with the taxonomy; only new phrases are embedded."""
    encoder, table = workspace.encoder, "concept_embeddings"
    schema = concept_embeddings_schema(encoder.dimension)
    wanted = [(c.id, text) for c in workspace.taxonomy.concepts for text in workspace.taxonomy.phrases(c)]
    current = fingerprint(encoder=encoder.fingerprint, version=EMBEDDING_VERSION)

    with workspace.lake.locked(table):
        stored = read_stored(workspace.lake, table, None, schema)
        known = _rows_by(current, stored.rows, schema)
        texts = known["text"].to_pylist()
        missing = sorted({text for _, text in wanted} - set(texts))
        vectors = np.concatenate([embedding_matrix(known["embedding"]), encoder.embed_texts(missing)])
        row_of = {text: row for row, text in enumerate([*texts, *missing])}
        rows = pa.table(
            [
                [concept_id for concept_id, _ in wanted],
                [text for _, text in wanted],
                embedding_column(vectors[[row_of[text] for _, text in wanted]]),
                [current] * len(wanted),
            ],
            schema=schema,
        )
        if not _same_rows(stored.rows, rows):
            workspace.lake.replace(table, rows)
    computed, dropped = len(missing), len(set(texts) - {text for _, text in wanted})
    kept = len(row_of) - computed - dropped
    return UpdateStats(kept, computed, dropped, resumed=0, quarantined=stored.quarantined)


def make_scorer(workspace: Workspace) -> Scorer:
    """The scorer of a home's taxonomy and encoder. Raises MissingPartition before `concept_embeddings`."""
    tier, encoder = workspace.tier, workspace.encoder
    concept_ids, concepts = pool_phrases(workspace.lake.read("concept_embeddings"))
    pairs = workspace.taxonomy.broader_pairs() if tier.share_with_broader else ()
    return Scorer(
        concept_ids,
        concepts,
        encoder.score_head,
        encoder.calibration,
        lenders_of(concept_ids, pairs),
        tier.keep_top,
    )


def score_tags(workspace: Workspace, scorer: Scorer, key: str, meter: Meter) -> UpdateStats:
    """Bring `tag_scores` of a folder up to date with its embeddings. No model is needed for it."""
    embeddings = workspace.lake.read("global_embeddings", key)
    wanted = derived(
        embeddings,
        concepts=workspace.taxonomy.fingerprint,
        encoder=workspace.encoder.fingerprint,
        calibration=repr(scorer.calibration),
        keep_top=scorer.keep_top,
        share_with_broader=workspace.tier.share_with_broader,
        version=SCORING_VERSION,
    )

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        with meter.timed():
            places = pc.index_in(pa.array(ids), value_set=embeddings["id"].combine_chunks())
            vectors = embedding_matrix(embeddings["embedding"].take(places))
            yield from score_images(ids, vectors, scorer, wanted["fingerprint"].take(places).to_pylist())

    return update_partition(
        workspace.lake, "tag_scores", key, wanted, TAG_SCORES, compute, on_progress=meter.folder()
    )


def _rows_by(current: str, stored: pa.Table | None, schema: pa.Schema) -> pa.Table:
    """The stored rows of one fingerprint."""
    if stored is None:
        return schema.empty_table()
    return stored.filter(pc.equal(stored["fingerprint"], current))


def _same_rows(stored: pa.Table | None, rows: pa.Table) -> bool:
    """Whether the stored rows are these; Parquet gives some types back as wider ones, so they are cast."""
    return (
        stored is not None
        and stored.column_names == rows.column_names
        and stored.num_rows == rows.num_rows
        and bool(stored.cast(rows.schema).equals(rows))
    )


def _count_missing(before: pa.Table | None, now: pa.Table) -> int:
    if before is None:
        return 0
    return len(set(before["id"].to_pylist()) - set(now["id"].to_pylist()))
