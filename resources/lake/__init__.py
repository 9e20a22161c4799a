"""The lake: partitioned Parquet tables that a kill cannot harm, and their incremental update.

`files` touches the disk, `store` knows the layout, `update` recomputes what is not current, by what is `stored` and the
`batches` that are not yet, in `ranges` of a large folder; `embeddings` turns vectors into columns and back. docs/lake.md
describes the whole.
"""

from resources.lake.embeddings import embedding_column, embedding_matrix
from resources.lake.notes import empty_ids, failed_ids, with_empty_ids, with_failed_ids
from resources.lake.store import CorruptPartition, Lake, LakeError, MissingPartition
from resources.lake.stored import Stored, read_stored, same_rows
from resources.lake.update import UpdateStats, replace_rows, update_partition

__all__ = [
    "CorruptPartition",
    "Lake",
    "LakeError",
    "MissingPartition",
    "Stored",
    "UpdateStats",
    "embedding_column",
    "embedding_matrix",
    "empty_ids",
    "failed_ids",
    "read_stored",
    "replace_rows",
    "same_rows",
    "update_partition",
    "with_empty_ids",
    "with_failed_ids",
]
