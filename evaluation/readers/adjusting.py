"""What else is known of a ground truth: which images it is about, which labels were verified, which class is which."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.metrics.region_tables import positions
from evaluation.readers.sheets import content_of, header_of, parsed_json, read_sheet
from evaluation.readers.tables import CONCEPTS, IMAGES, PAIRS, TRUE_BOXES, Truth, UnusableFile
from evaluation.readers.values import box_lists

_IMAGE_COLUMNS = ("image", "ImageID", "image_id", "file_name", "filename", "file", "path")


def with_image_labels(truth: Truth, labels: Truth) -> Truth:
    """A ground truth of boxes and, from another file, which classes were verified to be in an image and which not.

    What neither names was not looked for. Images and classes that only the labels name are evaluated too.
    """
    truth = with_images(truth, labels.images["name"].to_pylist())
    truth = _with_concepts(truth, labels.concepts["concept_id"].to_pylist())
    tags, negatives = _by_id_of(truth, labels, labels.tags), labels.negatives
    return replace(
        truth,
        tags=_union(truth.tags, tags),
        negatives=_union(truth.negatives, negatives and _by_id_of(truth, labels, negatives)),
        remarks=(*(r for r in truth.remarks if "--image-labels" not in r), *labels.remarks),
        all_images=True,
    )


def read_image_list(path: Path) -> list[str]:
    """Names of images: a CSV file with a column of them, or one a line. Raises UnusableFile."""
    try:
        text = content_of(path).decode("utf-8", errors="replace")
    except OSError as error:
        raise UnusableFile(f"{path}: cannot be read ({error.strerror}); give a list of images") from error
    if header_of(path, text[:4096]) & {name.lower() for name in _IMAGE_COLUMNS}:
        return list(dict.fromkeys(read_sheet(path, {"image": _IMAGE_COLUMNS}).table["image"].to_pylist()))
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def with_images(truth: Truth, names: Iterable[str]) -> Truth:
    """The same, also about these images: nothing is in those that it does not name."""
    known = set(truth.images["name"].to_pylist())
    new = [name for name in dict.fromkeys(names) if name not in known]
    if not new:
        return truth
    unknown = pa.nulls(len(new), pa.float64())
    more = pa.table([pa.array(new), pa.array(new), unknown, unknown], schema=IMAGES)
    return replace(truth, images=pa.concat_tables([truth.images, more]))


def only_images(truth: Truth, names: Sequence[str]) -> Truth:
    """Of these images alone, also of those that the ground truth does not name."""
    truth = with_images(truth, names)
    images = truth.images.filter(pc.is_in(truth.images["name"], value_set=pa.array(names, pa.string())))
    ids = images["id"].combine_chunks()

    def of_them(table: pa.Table | None) -> pa.Table | None:
        return table and table.filter(pc.is_in(table["id"], value_set=ids))

    boxes = of_them(truth.boxes)
    left_out = truth.images.num_rows - images.num_rows
    remark = f"{truth.path.name}: {left_out:,} images that are not listed are left out."
    remarks = (*truth.remarks, *((remark,) if left_out else ()))
    return replace(
        truth,
        images=images,
        tags=of_them(truth.tags),
        boxes=boxes if boxes and boxes.num_rows else None,
        negatives=of_them(truth.negatives),
        not_exhaustive=of_them(truth.not_exhaustive),
        remarks=remarks,
        restricted=True,
        all_images=True,
    )


def with_hierarchy(truth: Truth, path: Path) -> Truth:
    """Expanded as the OpenImages challenge does: what is there is all of its parents too, what is not none of its children.

    https://storage.googleapis.com/openimages/web/challenge2019.html#object_detection; the file is a tree of
    `{"LabelName": ..., "Subcategory": [...]}` whose root is no class.

    Raises UnusableFile for a file that is no such tree.
    """
    above = _ancestors(path)
    below: dict[str, set[str]] = {}
    for child, parents in above.items():
        for parent in parents:
            below.setdefault(parent, set()).add(child)
    names = set(truth.concepts["concept_id"].to_pylist())
    truth = _with_concepts(
        truth, sorted({parent for name in names for parent in above.get(name, ())} - names)
    )
    return replace(
        truth,
        tags=_union(truth.tags, _expanded(truth.tags, above)),
        boxes=truth.boxes and _expanded(truth.boxes, above),
        negatives=truth.negatives and _union(truth.negatives, _expanded(truth.negatives, below)),
    )


def clipped(truth: Truth) -> Truth:
    """Boxes cut at the edges of their images, where these are known."""
    if truth.boxes is None:
        return truth
    boxes, sides = box_matrix(truth.boxes), sides_of(truth, truth.boxes["id"])
    sides = np.where(np.isnan(sides), np.inf, sides)
    corners = np.clip(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), 0.0, sides)
    cut = box_lists(np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1), 4)
    return replace(truth, boxes=truth.boxes.set_column(2, TRUE_BOXES.field("bbox"), cut))


def sides_of(truth: Truth, ids: pa.ChunkedArray) -> np.ndarray:
    """float64 [rows, 4]: width, height, width, height of the image of each row, NaN where unknown; 1 of fractions."""
    if truth.relative_boxes:
        return np.ones((len(ids), 4))
    image = positions(ids, truth.images["id"].combine_chunks())
    width, height = (truth.images[side].to_numpy()[image] for side in ("width", "height"))
    return np.stack([width, height, width, height], axis=1)


def box_matrix(table: pa.Table) -> np.ndarray:
    """float64 [rows, 4]"""
    return pc.list_flatten(table["bbox"]).to_numpy().reshape(-1, 4)


def _ancestors(path: Path) -> dict[str, list[str]]:
    """Class -> the classes above it, without the root."""
    found: dict[str, list[str]] = {}

    def walk(node: Mapping[str, Any], above: list[str]) -> None:
        for child in node.get("Subcategory", ()):
            known = found.setdefault(child["LabelName"], [])
            known += [name for name in above if name not in known]
            walk(child, [*above, child["LabelName"]])

    try:
        walk(parsed_json(content_of(path)), [])
    except OSError as error:
        raise UnusableFile(
            f"{path}: cannot be read ({error.strerror}); give a hierarchy of classes"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableFile(
            f"{path}: is no hierarchy of classes, a JSON tree of {{LabelName, Subcategory: [...]}}: {error!r}"
        ) from error
    return found


def _expanded(table: pa.Table, related: Mapping[str, Iterable[str]]) -> pa.Table:
    """The rows, and each again for every class that is related to its own."""
    names = table["concept_id"].to_pylist()
    rows = [(i, name) for i, own in enumerate(names) for name in (own, *related.get(own, ()))]
    index, concept = zip(*rows, strict=True) if rows else ((), ())
    column = table.column_names.index("concept_id")
    taken = table.take(pa.array(index, pa.int64()))
    return taken.set_column(column, table.schema.field("concept_id"), pa.array(concept, pa.string()))


def _with_concepts(truth: Truth, names: Iterable[str]) -> Truth:
    known = set(truth.concepts["concept_id"].to_pylist())
    new = pa.array([name for name in names if name not in known], pa.string())
    more = pa.table([new, new, pa.nulls(len(new), pa.string())], schema=CONCEPTS)
    return replace(truth, concepts=pa.concat_tables([truth.concepts, more]))


def _by_id_of(truth: Truth, other: Truth, pairs: pa.Table) -> pa.Table:
    """Pairs of another truth by the image ids of this one; both name the images."""
    theirs, names = (other.images[column].combine_chunks() for column in ("id", "name"))
    ours, own_names = (truth.images[column].combine_chunks() for column in ("id", "name"))
    called = pa.chunked_array([names.take(pa.array(positions(pairs["id"], theirs)))])
    ids = ours.take(pa.array(positions(called, own_names)))
    return pa.table([ids, pairs["concept_id"]], schema=PAIRS)


def _union(first: pa.Table | None, second: pa.Table | None) -> pa.Table | None:
    given = [table.select(PAIRS.names).cast(PAIRS) for table in (first, second) if table is not None]
    return pa.concat_tables(given).group_by(PAIRS.names).aggregate([]).cast(PAIRS) if given else None
