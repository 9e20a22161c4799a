"""One unit vector a phrase: every label of every concept in the templates of its facet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from resources.fingerprint import fingerprint
from resources.gpus import MODELS_POOL
from resources.lake import UpdateStats, embedding_column, read_stored, same_rows
from resources.lake.store import CorruptPartition, read_parquet, write_parquet
from resources.metadata import OWNERS, column_schema, moved_away
from resources.models.encoders import Encoder
from resources.tables import CONCEPT_EMBEDDINGS
from resources.workspace import VistagResource, Workspace
from vistag_assets.failures import told_first
from vistag_assets.progress import Meter
from vistag_assets.whole_image.global_embeddings import EMBEDDING_VERSION

PHRASES_A_BATCH = 4096
_PHRASE = ("text", "embedding")
Progress = Callable[[int, int], None]
"""Called with the phrases done and all that are to be."""


@dg.asset(
    description=CONCEPT_EMBEDDINGS.about,
    metadata=column_schema(CONCEPT_EMBEDDINGS),
    group_name=CONCEPT_EMBEDDINGS.group,
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(EMBEDDING_VERSION),
    pool=MODELS_POOL,
)
@told_first()
def concept_embeddings(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Embedding phrases")
    stats = embed_concepts(workspace, meter.folder())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": stats.kept + stats.computed,
            "concepts": len(workspace.taxonomy.concepts),
            "phrases_kept": stats.kept,
            "phrases_computed": stats.computed,
            "phrases_dropped": stats.dropped,
            "taxonomy": workspace.taxonomy.fingerprint,
            "device": workspace.encoder.device,
            "model_loads": meter.model_loads,
            **moved_away(stats.quarantined),
        }
    )


def embed_concepts(workspace: Workspace, on_progress: Progress | None = None) -> UpdateStats:
    """Bring `concept_embeddings` up to date with the taxonomy; only new phrases are embedded.

    They are embedded in batches that are kept as they come: a run that is killed goes on from there.
    """
    encoder, table = workspace.encoder, CONCEPT_EMBEDDINGS.name
    schema = CONCEPT_EMBEDDINGS.sized(encoder.dimension)
    wanted = wanted_phrases(workspace)
    current = fingerprint(encoder=encoder.fingerprint, version=EMBEDDING_VERSION)

    with workspace.lake.locked(table):
        stored = read_stored(workspace.lake, table, None, schema)
        known = _rows_by(current, stored.rows, schema)
        row_of = {text: row for row, text in enumerate(known["text"].to_pylist())}
        missing = sorted({text for _, text in wanted} - row_of.keys())
        pending = workspace.lake.pending(table)
        batches = [*_embedded(missing, encoder, pending, current, schema, on_progress)]
        new = pa.concat_tables([known.select(_PHRASE), *batches]).combine_chunks()
        row_of |= {text: row for row, text in enumerate(missing, start=known.num_rows)}
        rows = pa.table(
            [
                pa.array([concept_id for concept_id, _ in wanted], pa.string()),
                pa.array([text for _, text in wanted], pa.string()),
                new["embedding"].take(pa.array([row_of[text] for _, text in wanted], pa.int64())),
                pa.array([current] * len(wanted), pa.string()),
            ],
            schema=schema,
        )
        if not same_rows(stored.rows, rows):
            workspace.lake.replace(table, rows)
        workspace.lake.remove_pending(table)
    texts = {text for _, text in wanted}
    dropped = len(set(known["text"].to_pylist()) - texts)
    return UpdateStats(
        len(texts) - len(missing), len(missing), dropped, resumed=0, quarantined=stored.quarantined
    )


@dataclass(frozen=True, slots=True)
class PhraseCost:
    """What embedding the phrases that are not there yet will take."""

    missing: int
    preferred: int
    """of them, those of preferred labels"""
    seconds: float
    """for all, by what a few took"""

    @property
    def preferred_seconds(self) -> float:
        return self.seconds * self.preferred / max(1, self.missing)


def phrase_cost(workspace: Workspace, at_least: int) -> PhraseCost | None:
    """The cost before any work, where `at_least` phrases are missing: the model is loaded and shown a few of them."""
    encoder, table = workspace.encoder, CONCEPT_EMBEDDINGS.name
    schema = CONCEPT_EMBEDDINGS.sized(encoder.dimension)
    stored = workspace.lake.read_or_none(table)
    known = set[str]()
    if stored is not None and stored.schema.field("embedding").type == schema.field("embedding").type:
        current = fingerprint(encoder=encoder.fingerprint, version=EMBEDDING_VERSION)
        known = set(_rows_by(current, stored, schema)["text"].to_pylist())
    missing = sorted({text for _, text in wanted_phrases(workspace)} - known)
    if len(missing) < at_least:
        return None
    own = replace(workspace.taxonomy, asked="pref")
    preferred = {
        text for c in own.concepts for text in own.phrases(c, multilingual=encoder.spec.multilingual)
    }
    sample = missing[:: max(1, len(missing) // (2 * encoder.spec.batch_size))][: 2 * encoder.spec.batch_size]
    encoder.embed_texts(sample[:1])
    started = time.perf_counter()
    encoder.embed_texts(sample)
    seconds = (time.perf_counter() - started) / len(sample) * len(missing)
    return PhraseCost(len(missing), len(preferred.difference(known)), seconds)


def wanted_phrases(workspace: Workspace) -> list[tuple[str, str]]:
    """(concept id, text) of what the encoder is asked, in the order of the table."""
    taxonomy, multilingual = workspace.taxonomy, workspace.encoder.spec.multilingual
    return [
        (c.id, text) for c in taxonomy.concepts for text in taxonomy.phrases(c, multilingual=multilingual)
    ]


def _embedded(
    texts: Sequence[str],
    encoder: Encoder,
    pending: Path,
    current: str,
    schema: pa.Schema,
    on_progress: Progress | None,
) -> Iterator[pa.Table]:
    """Text and embedding of the texts in their order, in batches; those of a run that was killed are read again."""
    for start in range(0, len(texts), PHRASES_A_BATCH):
        batch = texts[start : start + PHRASES_A_BATCH]
        file = pending / f"{fingerprint(current=current, texts=batch)}.parquet"
        if on_progress:
            on_progress(start, len(texts))
        try:
            rows = read_parquet(file)
        except (FileNotFoundError, CorruptPartition):
            told = partial(_told, on_progress, start, len(texts)) if on_progress else None
            vectors = embedding_column(encoder.embed_texts(batch, told))
            rows = pa.table([pa.array(batch, pa.string()), vectors], names=list(_PHRASE))
            if len(texts) > PHRASES_A_BATCH:
                write_parquet(file, rows)
        yield rows.cast(pa.schema([schema.field(name) for name in _PHRASE]))
    if on_progress and texts:
        on_progress(len(texts), len(texts))


def _told(on_progress: Progress, before: int, total: int, done: int) -> None:
    on_progress(before + done, total)


def _rows_by(current: str, stored: pa.Table | None, schema: pa.Schema) -> pa.Table:
    """The stored rows of one fingerprint."""
    if stored is None:
        return schema.empty_table()
    return stored.filter(pc.equal(stored["fingerprint"], current))
