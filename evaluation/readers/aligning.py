"""Predictions aligned with a ground truth: the same ids on both sides, and what does not fit is named."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.region_tables import positions
from evaluation.readers import plausibility
from evaluation.readers.adjusting import box_matrix, sides_of, with_images
from evaluation.readers.names import near_equal, near_equal_remark, same_files
from evaluation.readers.plausibility import CATEGORY_IDS, SHAPES, Side
from evaluation.readers.tables import Predictions, Rows, Truth, UnusableFile, refuse
from evaluation.readers.values import box_lists, check_boxes

_REPEATED = """
select max(row) as again, min(row) as first, count(distinct score) > 1 as differ, count(*) - 1 as extra
from given group by {keys} having count(*) > 1 order by again
"""
_OFFSET_SHARE = 0.5
_BEST = 4 * plausibility.SAMPLE


@dataclass(frozen=True, slots=True)
class Reading:
    """How boxes and category ids are to be read; what is None is as the format has it, and judged by what fits."""

    boxes: str | None = None  # of the predictions, a key of SHAPES
    true_boxes: str | None = None  # of the ground truth
    relative: bool | None = None  # whether predicted boxes are fractions of the image
    category_ids: str | None = None  # a key of CATEGORY_IDS

    def __post_init__(self) -> None:
        for value, known in (
            (self.boxes, SHAPES),
            (self.true_boxes, SHAPES),
            (self.category_ids, CATEGORY_IDS),
        ):
            if value is not None and value not in known:
                raise ValueError(f"there is no reading {value!r}; give one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Aligned:
    """Predictions by the ids of the ground truth; boxes in its unit."""

    predictions: Path
    truth: Truth  # as the reading has its boxes, and with the images that only predictions name where it lists none
    tags: pa.Table  # id, concept_id, score: given as tags, else the best box of each concept
    boxes: pa.Table | None  # id, region_id, concept_id, bbox (xywh), score
    unknown_concept_rows: int  # left out: about concepts that are not evaluated
    other_image_rows: int  # left out: about images that are not evaluated
    remarks: tuple[str, ...] = ()


def align(
    truth: Truth, predictions: Predictions, reading: Reading = Reading(), *, best_of_repeated: bool = False
) -> Aligned:
    """Join predictions with the ground truth they are about.

    best_of_repeated: of a tag that an image is given several times with different scores the best one counts.

    Raises:
        UnusableFile: predictions name images, or category ids, that the ground truth lacks; none of their
            concepts is in it; a tag is given twice with different scores; boxes or category ids are likely meant
            otherwise than they are read, or boxes are in another unit that cannot be converted.
    """
    truth, predictions = _as_read(truth, predictions, reading)
    remarks = [*truth.remarks, *predictions.remarks, *_true_boxes_remarks(truth, reading)]
    if not predictions.by_id:
        predictions, renamed = _by_names_of(truth, predictions)
        remarks += renamed
    truth, listed = _with_their_images(truth, predictions)
    remarks += listed
    tags = predictions.tags and _known(truth, predictions, predictions.tags, best_of_repeated)
    boxes = predictions.boxes and _known(truth, predictions, predictions.boxes, best_of_repeated)
    if predictions.boxes and boxes:
        _refuse_implausible(truth, predictions, boxes, reading)
    kept = [part for part in (tags, boxes) if part]
    if not any(part.table.num_rows for part in kept) and any(part.unknown_concept_rows for part in kept):
        raise UnusableFile(_nothing_known(truth, predictions))
    regions = boxes and _regions(truth, predictions, boxes.table)
    return Aligned(
        predictions.path,
        truth,
        tags.table.select(["id", "concept_id", "score"]) if tags else _implied(regions),
        regions,
        sum(part.unknown_concept_rows for part in kept),
        sum(part.other_image_rows for part in kept),
        (*remarks, *dict.fromkeys(remark for part in kept for remark in part.remarks)),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    table: (
        pa.Table
    )  # row, id, concept_id, score, image and category (positions in the truth's), of boxes bbox
    unknown_concept_rows: int
    other_image_rows: int
    remarks: tuple[str, ...]


def _as_read(truth: Truth, predictions: Predictions, reading: Reading) -> tuple[Truth, Predictions]:
    """Both with boxes as x, y, width, height, and ids as the ground truth has them."""
    if reading.true_boxes not in (None, "xywh") and truth.boxes is not None:
        truth = replace(truth, boxes=_reshaped(truth.boxes, reading.true_boxes, 4))
    rows = predictions.boxes
    if rows and reading.boxes not in (None, "xywh"):
        table = _reshaped(rows.table, reading.boxes)
        check_boxes(box_matrix(table), table["row"].to_numpy(), rows.origin)
        rows = Rows(table, rows.origin)
    if rows and predictions.by_id and reading.category_ids not in (None, "as-given"):
        rows = Rows(_with_other_ids(truth, rows, reading.category_ids), rows.origin)
    relative = predictions.relative_boxes if reading.relative is None else reading.relative
    return truth, replace(predictions, boxes=rows, relative_boxes=relative)


def _reshaped(table: pa.Table, shape: str | None, size: int = -1) -> pa.Table:
    index = table.column_names.index("bbox")
    boxes = box_lists(SHAPES[shape or "xywh"](box_matrix(table)), size)
    return table.set_column(index, table.schema.field("bbox"), boxes)


def _with_other_ids(truth: Truth, rows: Rows, reading: str | None) -> pa.Table:
    table = rows.table
    given, known = (plausibility.whole_numbers(ids) for ids in (table["concept"], truth.concepts["id"]))
    if given is None or known is None:
        raise UnusableFile(f"{rows.origin.path}: --category-ids {reading} needs ids that are whole numbers")
    ids = pa.array(CATEGORY_IDS[reading or "as-given"](given, np.sort(known))).cast(pa.string())
    return table.set_column(table.column_names.index("concept"), table.schema.field("concept"), ids)


def _by_names_of(truth: Truth, predictions: Predictions) -> tuple[Predictions, list[str]]:
    """Images as the ground truth calls them, where paths or endings differ and just one can be meant."""
    known = truth.images["name"]
    given = [rows for rows in (predictions.tags, predictions.boxes) if rows]
    names = pc.unique(
        pa.chunked_array([chunk for rows in given for chunk in rows.table["image"].chunks], pa.string())
    )
    strange = names.filter(pc.invert(pc.is_in(names, value_set=known.combine_chunks()))).to_pylist()
    found = same_files(strange, known.to_pylist()) if strange else {}
    if not found:
        return predictions, []

    def renamed(rows: Rows | None) -> Rows | None:
        if rows is None:
            return None
        column = pa.array([found.get(name, name) for name in names.to_pylist()], pa.string())
        images = column.take(pc.index_in(rows.table["image"], value_set=names))
        return Rows(rows.table.set_column(1, rows.table.schema.field("image"), images), rows.origin)

    name, other = next(iter(found.items()))
    remark = (
        f"{predictions.path.name}: {len(found):,} images go by another name than in {truth.path.name}, such as "
        f"{name!r} for {other!r}."
    )
    return replace(predictions, tags=renamed(predictions.tags), boxes=renamed(predictions.boxes)), [remark]


def _with_their_images(truth: Truth, predictions: Predictions) -> tuple[Truth, list[str]]:
    """A format that lists only images with a box says nothing of others: what is predicted there is wrong."""
    if truth.all_images or predictions.by_id or predictions.other_images:
        return truth, []
    rows = predictions.tags or predictions.boxes
    assert rows is not None, "predictions are tags or boxes"
    wider = with_images(truth, pc.unique(rows.table["image"]).to_pylist())
    new = wider.images.num_rows - truth.images.num_rows
    remark = (
        f"{truth.path.name}: lists only images with a box; {new:,} others that predictions are about are evaluated as "
        "images without any (--images FILE or --image-labels FILE say which are)."
    )
    return wider, [remark] if new else []


def _known(truth: Truth, predictions: Predictions, rows: Rows, best_of_repeated: bool) -> _Known:
    table, origin = rows.table, rows.origin
    key, concept_key = ("id", "id") if predictions.by_id else ("name", "concept_id")
    image = positions(table["image"], truth.images[key].combine_chunks())
    concept = positions(table["concept"], truth.concepts[concept_key].combine_chunks())
    refuse(origin.path, _unknown(truth, predictions, rows, image, concept))
    if not predictions.by_id:
        refuse(origin.path, _ambiguous(truth, rows, image))
    kept = {
        "row": table["row"],
        "id": truth.images["id"].take(pa.array(image, mask=image < 0)),
        "concept_id": truth.concepts["concept_id"].take(pa.array(concept, mask=concept < 0)),
        "score": table["score"],
        "image": pa.array(image),
        "category": pa.array(concept),
        **({"bbox": table["bbox"]} if "bbox" in table.column_names else {}),
    }
    chosen = (image >= 0) & (concept >= 0)
    found, remarks = _without_repeated(pa.table(kept).filter(pa.array(chosen)), rows, best_of_repeated)
    stray = (concept < 0) & (image >= 0)
    if stray.any():
        strange = pc.unique(table["concept"].filter(pa.array(stray))).to_pylist()
        known = truth.concepts["concept_id"].to_pylist()
        alike = {name: other for name, other in near_equal(strange, known).items() if other in set(known)}
        remarks += [near_equal_remark(f"{origin.path.name} and {truth.path.name}", alike)] if alike else []
    return _Known(found, int(stray.sum()), int((image < 0).sum()), tuple(remarks))


def _unknown(
    truth: Truth, predictions: Predictions, rows: Rows, image: NDArray[np.int64], concept: NDArray[np.int64]
) -> Iterator[str]:
    table, origin = rows.table, rows.origin
    row = table["row"].to_numpy()
    key, what, shown = ("id", "image id", str) if predictions.by_id else ("name", "image name", repr)
    tolerant = predictions.other_images or truth.restricted
    strange = np.flatnonzero((image < 0) & (not tolerant))
    if strange.size:
        names = pc.unique(table["image"].take(pa.array(strange))).to_pylist()
        known = truth.images[key].to_pylist()
        alike = near_equal(names, known) if not predictions.by_id else {}
        if alike:
            yield near_equal_remark("images", alike)
    for i in strange:
        yield (
            f"{origin.place(row[i], 'image')}: {shown(table['image'][i].as_py())} is no {what} "
            f"of {truth.path}, such as {shown(truth.images[key][0].as_py())}; evaluate on the images that both have, "
            "or say which with --images FILE"
        )
    lost = np.flatnonzero((concept < 0) & (not predictions.open_vocabulary))
    if lost.size:
        given, known_ids = (
            plausibility.whole_numbers(ids) for ids in (table["concept"], truth.concepts["id"])
        )
        fitting = None if given is None or known_ids is None else plausibility.ids_that_fit(given, known_ids)
        if fitting:
            yield f"{origin.fields['concept']}: {plausibility.id_words(fitting)}"
    for i in lost:
        yield (
            f"{origin.place(row[i], 'concept')}: {table['concept'][i].as_py()} is no id of the categories "
            f"of {truth.path}"
        )


def _ambiguous(truth: Truth, rows: Rows, image: NDArray[np.int64]) -> Iterator[str]:
    """A name that several images have says nothing where predictions go by names."""
    counts = pc.value_counts(truth.images["name"])
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(repeated):
        named = pc.is_in(rows.table["image"], value_set=repeated).to_numpy()
        row = rows.table["row"].to_numpy()
        for i in np.flatnonzero(named & (image >= 0)):
            name = rows.table["image"][i].as_py()
            yield f"{rows.origin.place(row[i], 'image')}: {name!r} is the name of several images of {truth.path}"


def _without_repeated(table: pa.Table, rows: Rows, best: bool) -> tuple[pa.Table, list[str]]:
    """Of a tag that is given twice one row; boxes stay, as the references have it: the second finds nothing."""
    boxes = "bbox" in table.column_names
    keys = ["image", "concept_id", *(["bbox", "score"] if boxes else [])]
    with duckdb.connect() as sql:
        sql.register("given", table)
        found = sql.sql(_REPEATED.format(keys=", ".join(keys))).fetchall()
    if not found:
        return table, []
    origin, extra = rows.origin, sum(row[3] for row in found)
    if boxes:
        place = origin.row.format(found[0][0])
        return table, [
            f"{origin.path.name}: {extra:,} boxes are given again, such as {place}; the second is wrong."
        ]
    if not best:
        refuse(
            origin.path,
            (
                f"{origin.place(again, 'concept')}: the prediction of {origin.row.format(first)} is given "
                "again with another score; keep one"
                for again, first, differ, _ in found
                if differ
            ),
        )
    kept = table.group_by(["image", "concept_id"]).aggregate(
        [(name, "min") for name in ("row", "id", "category")] + [("score", "max")]
    )
    names = [name.removesuffix("_min").removesuffix("_max") for name in kept.column_names]
    return kept.rename_columns(names), [
        f"{origin.path.name}: {extra:,} tags are given again; each counts once."
    ]


def _true_boxes_remarks(truth: Truth, reading: Reading) -> Iterator[str]:
    if truth.boxes is None:
        return
    boxes, sides = box_matrix(truth.boxes), sides_of(truth, truth.boxes["id"])
    if reading.true_boxes is None:
        plausibility.refuse_corners(truth.path, boxes, sides)
    yield from plausibility.beyond_remarks(truth.path, boxes, sides)


def _refuse_implausible(truth: Truth, predictions: Predictions, known: _Known, reading: Reading) -> None:
    """Raise where boxes or ids are likely meant otherwise, and nobody said how they are meant."""
    if truth.boxes is None or known.table.num_rows == 0:
        return
    score = known.table["score"].to_numpy()
    best = np.argpartition(-score, min(_BEST, len(score)) - 1)[:_BEST]
    table = known.table.take(pa.array(best[np.argsort(-score[best], kind="stable")]))
    found = Side(box_matrix(table), table["image"].to_numpy(), predictions.relative_boxes)
    true_image = positions(truth.boxes["id"], truth.images["id"].combine_chunks())
    true = Side(box_matrix(truth.boxes), true_image, truth.relative_boxes)
    width, height = (truth.images[side].to_numpy() for side in ("width", "height"))
    path = predictions.path
    if reading.boxes is None and reading.relative is None:
        likely = plausibility.likely_reading(found, true, width, height)
        if likely:
            raise UnusableFile(_reads_better(path, likely, f"--boxes {likely.option}"))
    if reading.true_boxes is None and reading.boxes is None:
        likely = plausibility.likely_reading(true, found, width, height)
        if likely and not likely.relative:
            option = f"--boxes {likely.shape},xywh (of the ground truth, of the predictions)"
            raise UnusableFile(_reads_better(truth.path, likely, option))
    if reading.boxes is None:
        shifted = plausibility.offset_words(found, true)
        if shifted and shifted[1] >= _OFFSET_SHARE:
            raise UnusableFile(
                f"{path}: {shifted[1]:.0%} of its boxes that lie on a true one lie {shifted[0]}. Move them, or say that "
                "they are right as they are: --boxes xywh"
            )
    ids = plausibility.whole_numbers(truth.concepts["id"])
    if predictions.by_id and reading.category_ids is None and ids is not None:
        true_id = ids[positions(truth.boxes["concept_id"], truth.concepts["concept_id"].combine_chunks())]
        name = plausibility.likely_ids(ids[table["category"].to_numpy()], found, ids, true_id, true)
        if name:
            raise UnusableFile(
                f"{path}: its category_id do not agree with the boxes of {truth.path}: "
                f"{plausibility.id_words(name)}; if they are right: --category-ids as-given"
            )


def _reads_better(path: Path, likely: plausibility.Likely, option: str) -> str:
    return (
        f"{path}: its boxes look like {likely.words}, but x, y, width, height is read: {likely.evidence}. "
        f"If they are: {option}; if not, say so: --boxes xywh"
    )


def _regions(truth: Truth, predictions: Predictions, table: pa.Table) -> pa.Table:
    """The boxes in the unit of the ground truth, where that has any; their ids order as the rows do."""
    box = box_matrix(table)
    if truth.boxes is not None and predictions.relative_boxes != truth.relative_boxes:
        sides = sides_of(replace(truth, relative_boxes=False), table["id"])
        unsized = np.flatnonzero(np.isnan(sides).any(axis=1))
        if unsized.size:
            raise UnusableFile(
                f"{predictions.path}: one side gives boxes in pixels, the other as fractions of the image, and "
                f"{truth.path} does not say how large {unsized.size:,} of the images are; add their width and "
                "height, or convert the boxes"
            )
        box = box * sides if predictions.relative_boxes else box / sides
    return pa.table(
        {
            "id": table["id"],
            "region_id": pc.utf8_lpad(table["row"].cast(pa.string()), width=12, padding="0"),
            "concept_id": table["concept_id"],
            "bbox": box_lists(box, 4),
            "score": table["score"],
        }
    )


def _implied(regions: pa.Table | None) -> pa.Table:
    """A concept of an image scores as its best box does."""
    assert regions is not None, "predictions are tags or boxes"
    best = regions.group_by(["id", "concept_id"]).aggregate([("score", "max")])
    return best.rename_columns(["id", "concept_id", "score"])


def _nothing_known(truth: Truth, predictions: Predictions) -> str:
    rows = predictions.tags or predictions.boxes
    assert rows is not None
    strange, known = pc.unique(rows.table["concept"]).to_pylist(), truth.concepts["concept_id"].to_pylist()
    alike = near_equal(strange, known)
    hint = f". {near_equal_remark('Both', alike)}" if alike else ""
    return (
        f"{predictions.path}: none of its tags, such as {', '.join(strange[:3])}, is among the {len(known):,} of "
        f"{truth.path}, such as {', '.join(known[:3])}; call them the same in both{hint}"
    )
