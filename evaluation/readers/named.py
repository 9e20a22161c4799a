"""Ground truth of the formats whose images and tags have no ids, only names."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.readers.tables import CONCEPTS, IMAGES, PAIRS, TRUE_BOXES, Truth


def named_truth(
    path: Path,
    images: pa.ChunkedArray,
    tags: pa.Table,
    *,
    vocabulary: pa.ChunkedArray | None = None,
    boxes: pa.Table | None = None,
    relative_boxes: bool = False,
) -> Truth:
    """Truth whose names are its ids.

    Args:
        images: string: every evaluated image, repetitions allowed.
        tags: `image`, `concept`: repetitions allowed.
        vocabulary: string: the evaluated concepts, repetitions allowed; by default those of `tags`.
        boxes: TRUE_BOXES; empty is the same as None.
    """
    names = _sorted(images)
    concepts = _sorted(tags["concept"] if vocabulary is None else vocabulary)
    unknown = pa.nulls(len(names), pa.float64())
    pairs = tags.select(["image", "concept"]).group_by(["image", "concept"]).aggregate([])
    return Truth(
        path,
        pa.table([names, names, unknown, unknown], schema=IMAGES),
        pa.table([concepts, concepts, pa.nulls(len(concepts), pa.string())], schema=CONCEPTS),
        pairs.rename_columns(PAIRS.names).cast(PAIRS),
        boxes.cast(TRUE_BOXES) if boxes is not None and boxes.num_rows else None,
        relative_boxes,
    )


def _sorted(values: pa.ChunkedArray) -> pa.Array:
    return pc.unique(values.cast(pa.string())).sort()
