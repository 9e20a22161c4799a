"""Ground truth of the formats whose images and tags have no ids, only names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

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
    sizes: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    negatives: pa.Table | None = None,
    remarks: Sequence[str] = (),
) -> Truth:
    """Truth whose names are its ids.

    Args:
        images: string: every evaluated image, repetitions allowed.
        tags: `image`, `concept`: repetitions allowed.
        vocabulary: string: the evaluated concepts, repetitions allowed; by default those of `tags`.
        boxes: TRUE_BOXES; empty is the same as None.
        sizes: width and height in pixels of the images where they are known.
        negatives: PAIRS that were verified to be absent; None where nobody verified any.
    """
    names = _sorted(images)
    concepts = _sorted(tags["concept"] if vocabulary is None else vocabulary)
    sides = (
        [sizes.get(name, (None, None)) for name in names.to_pylist()]
        if sizes
        else [(None, None)] * len(names)
    )
    width, height = (pa.array([pair[i] for pair in sides], pa.float64()) for i in range(2))
    pairs = tags.select(["image", "concept"]).group_by(["image", "concept"]).aggregate([])
    return Truth(
        path,
        pa.table([names, names, width, height], schema=IMAGES),
        pa.table([concepts, concepts, pa.nulls(len(concepts), pa.string())], schema=CONCEPTS),
        pairs.rename_columns(PAIRS.names).cast(PAIRS),
        boxes.cast(TRUE_BOXES) if boxes is not None and boxes.num_rows else None,
        relative_boxes,
        negatives=negatives,
        remarks=tuple(remarks),
    )


def _sorted(values: pa.ChunkedArray) -> pa.Array:
    return pc.unique(values.cast(pa.string())).sort()
