"""One unit vector a phrase: every label of every concept in the templates of its facet."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.fingerprint import fingerprint
from resources.gpus import MODELS_POOL
from resources.lake import UpdateStats, embedding_column, embedding_matrix, read_stored, same_rows
from resources.metadata import OWNERS, column_schema, moved_away
from resources.tables import CONCEPT_EMBEDDINGS
from resources.workspace import VistagResource, Workspace
from vistag_assets.progress import Meter
from vistag_assets.whole_image.global_embeddings import EMBEDDING_VERSION


@dg.asset(
    description=CONCEPT_EMBEDDINGS.about,
    metadata=column_schema(CONCEPT_EMBEDDINGS),
    group_name=CONCEPT_EMBEDDINGS.group,
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(EMBEDDING_VERSION),
    pool=MODELS_POOL,
)
def concept_embeddings(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Embedding phrases")
    stats = embed_concepts(workspace)
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


def embed_concepts(workspace: Workspace) -> UpdateStats:
    """Bring `concept_embeddings` up to date with the taxonomy; only new phrases are embedded."""
    encoder, table = workspace.encoder, CONCEPT_EMBEDDINGS.name
    schema = CONCEPT_EMBEDDINGS.sized(encoder.dimension)
    taxonomy, multilingual = workspace.taxonomy, encoder.spec.multilingual
    wanted = [
        (c.id, text) for c in taxonomy.concepts for text in taxonomy.phrases(c, multilingual=multilingual)
    ]
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
        if not same_rows(stored.rows, rows):
            workspace.lake.replace(table, rows)
    computed, dropped = len(missing), len(set(texts) - {text for _, text in wanted})
    kept = len(row_of) - computed - dropped
    return UpdateStats(kept, computed, dropped, resumed=0, quarantined=stored.quarantined)


def _rows_by(current: str, stored: pa.Table | None, schema: pa.Schema) -> pa.Table:
    """The stored rows of one fingerprint."""
    if stored is None:
        return schema.empty_table()
    return stored.filter(pc.equal(stored["fingerprint"], current))
