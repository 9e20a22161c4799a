"""The figures of predictions against a ground truth, both from files of any format that `readers` knows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.figures import Cut, TagEvaluation, compute_tag_figures
from evaluation.metrics.bands import frequency_bands
from evaluation.metrics.grounding import (
    GroundingEvaluation,
    grounding_recall,
    precision_by_concept,
    recall_by_concept,
)
from evaluation.metrics.intervals import FEW_IMAGES
from evaluation.metrics.mask_overlap import BoundaryOverlap, MaskOverlap, areas
from evaluation.metrics.matching import AREAS, COCO_CAP, EVERY_AREA, LVIS_CAP, Cap, Matching, match_regions
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.readers import Aligned, Reading, Truth, UnusableFile, align, read_predictions, read_truth
from evaluation.readers.adjusting import (
    clipped,
    only_images,
    read_image_list,
    with_hierarchy,
    with_image_labels,
)
from evaluation.readers.coco import masks_of_results, masks_of_truth
from evaluation.readers.names import near_equal, near_equal_remark, with_normalised_names

FIRST_TEN, AS_IT_FITS = Cut(), Reading()
CAPS = {"lvis": LVIS_CAP, "coco": COCO_CAP}


@dataclass(frozen=True, slots=True)
class Terms:
    """What is evaluated, and by which rules."""

    f1_cut: Cut = FIRST_TEN  # which scored tags F1 takes as predicted
    cap: Cap = LVIS_CAP  # how many boxes of an image count
    reading: Reading = AS_IT_FITS  # how boxes and ids are meant
    image_labels: Path | None = None  # which classes were verified in each image
    images: Path | None = None  # the evaluated images
    hierarchy: Path | None = None  # of classes: what is there is all of its parents too
    normalise_names: bool = False  # names that differ in spaces, case or Unicode form are one
    clip: bool = False  # true boxes are cut at the edges of their images
    masks: bool = False  # regions overlap by their masks, not by their boxes; COCO and LVIS only
    boundary: bool = False  # with masks: by the smaller of mask IoU and boundary IoU
    groups_once: bool = (
        False  # a group is to be found once, as in the OpenImages challenge; else it is in no figure
    )
    areas: bool = False  # average precision of small, medium and large regions too


@dataclass(frozen=True, slots=True)
class AreaFigure:
    """Regions of one of `matching.AREAS`, over IoU 0.5:0.95 and all tags that have any: APs and ARs, say."""

    mean_average_precision: float  # 0..1
    recall: float  # macro, 0..1
    support: int  # true regions


@dataclass(frozen=True, slots=True)
class FileEvaluation:
    """Figures of two files; without boxes on both sides there is no grounding."""

    tags: TagEvaluation
    grounding: GroundingEvaluation | None
    images_without_predictions: int  # of evaluated concepts
    unknown_concept_rows: int  # predictions of concepts that are not evaluated, left out before ranking
    other_image_rows: int  # predictions about images that are not evaluated, left out
    federated: bool  # only some categories were looked for in each image
    aligned: Aligned  # what the figures are of
    classes: (
        pa.Table
    )  # a row a tag: TAG_FIGURES, and where there are regions their recall and average precision
    areas: Mapping[str, AreaFigure] = field(default_factory=lambda: MappingProxyType({}))
    remarks: tuple[str, ...] = ()  # what a reader of the figures has to know


def evaluate_files(
    ground_truth: Path,
    predictions: Path,
    ground_truth_format: str | None = None,
    predictions_format: str | None = None,
    terms: Terms = Terms(),
) -> FileEvaluation:
    """Read two files and measure the one against the other.

    Args:
        ground_truth_format, predictions_format: a key of `readers.FORMATS`; None: what the file looks like.

    Raises:
        UnusableFile: a file cannot be read, the two do not fit together, or the ground truth names no tag.
    """
    truth = _on_terms(read_truth(ground_truth, ground_truth_format), terms)
    found = read_predictions(predictions, predictions_format)
    if terms.normalise_names:
        truth, found = with_normalised_names(truth, found)
    elif alike := near_equal(truth.concepts["concept_id"].to_pylist()):
        truth = replace(truth, remarks=(*truth.remarks, near_equal_remark(ground_truth.name, alike)))
    if truth.tags.num_rows == 0:
        raise UnusableFile(f"{ground_truth}: names no tag of any image, so there is nothing to find")
    aligned = align(truth, found, terms.reading, best_of_repeated=terms.normalise_names)
    return evaluate_aligned(aligned, terms)


def evaluate_aligned(aligned: Aligned, terms: Terms = Terms()) -> FileEvaluation:
    """As `evaluate_files`, of what was read."""
    truth = clipped(aligned.truth) if terms.clip else aligned.truth
    concepts = pc.unique(truth.concepts["concept_id"]).to_pylist()
    given = truth.concepts.filter(pc.is_valid(truth.concepts["lvis_band"]))
    lvis_bands = dict(zip(given["concept_id"].to_pylist(), given["lvis_band"].to_pylist(), strict=True))
    bands = frequency_bands(truth.tags, concepts, lvis_bands=lvis_bands, frequency=truth.frequency)
    images = truth.images["id"].to_pylist()
    tags = compute_tag_figures(
        truth.tags,
        aligned.tags,
        concepts,
        images=images,
        bands=bands,
        negatives=truth.negatives,
        f1_cut=terms.f1_cut,
    )
    tags = replace(tags, given_bands=bool(lvis_bands))
    grounding, classes, by_area = None, tags.tags, dict[str, AreaFigure]()
    to_find = truth.boxes is not None and (terms.groups_once or not pc.all(truth.boxes["crowd"]).as_py())
    if to_find and aligned.boxes is not None:
        regions = _Regions(truth, aligned, terms)
        matching = regions.matched()
        precision = precision_by_concept(matching)
        grounding = grounding_recall(matching, bands, precision)
        classes = classes.join(recall_by_concept(matching, precision), "concept_id").sort_by("rank")
        by_area = (
            {name: figure for name, area in AREAS.items() if (figure := regions.of_area(area))}
            if terms.areas
            else {}
        )
    spoken_of = pc.count_distinct(aligned.tags["id"]).as_py()
    found = FileEvaluation(
        tags,
        grounding,
        tags.images - spoken_of,
        aligned.unknown_concept_rows,
        aligned.other_image_rows,
        truth.negatives is not None,
        aligned,
        classes,
        by_area,
    )
    return replace(found, remarks=(*aligned.remarks, *_remarks(found, aligned, terms.cap)))


class _Regions:
    """The boxes of both files, or their masks, to be matched."""

    def __init__(self, truth: Truth, aligned: Aligned, terms: Terms) -> None:
        assert truth.boxes is not None, "the truth has boxes"
        assert aligned.boxes is not None, "the predictions have boxes"
        self.truth, self.terms, self.looked_for = truth, terms, _looked_for(truth)
        self.true, self.found = truth.boxes, aligned.boxes
        self.images = truth.images["id"].to_pylist()
        self.overlap: MaskOverlap | BoundaryOverlap | None = None
        if terms.masks:
            of_truth, of_results = masks_of_truth(truth.path), masks_of_results(aligned.predictions)
            rows = [int(row) for row in self.found["region_id"].to_pylist()]
            found, true = (
                [of_results[row] for row in rows],
                [of_truth[row] for row in self.true["row"].to_pylist()],
            )
            masks = MaskOverlap(_all_there(aligned.predictions, found), _all_there(truth.path, true))
            self.overlap = BoundaryOverlap.of(masks) if terms.boundary else masks
            self.found = self.found.append_column("area", pa.array(areas(masks.found)))

    def matched(self, area: tuple[float, float] = EVERY_AREA) -> Matching:
        return match_regions(
            self.true,
            self.found,
            negatives=self.looked_for,
            not_exhaustive=self.truth.not_exhaustive,
            images=self.images,
            cap=self.terms.cap,
            area=area,
            overlap=self.overlap,
            groups_once=self.terms.groups_once,
        )

    def of_area(self, area: tuple[float, float]) -> AreaFigure | None:
        """None where no true region is of it."""
        matching = self.matched(area)
        known = recall_by_concept(matching)
        if known.num_rows == 0:
            return None
        precision, recall = (
            float(np.mean(known[f"{name}@0.5:0.95"].to_numpy())) for name in ("average_precision", "recall")
        )
        return AreaFigure(precision, recall, int(matching.support.sum()))


def _all_there(path: Path, masks: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    there = [mask for mask in masks if mask is not None]
    if len(there) < len(masks):
        raise UnusableFile(
            f"{path}: {len(masks) - len(there):,} of {len(masks):,} regions have no mask; without --masks boxes are compared"
        )
    return there


def _on_terms(truth: Truth, terms: Terms) -> Truth:
    if terms.image_labels:
        truth = with_image_labels(truth, read_truth(terms.image_labels))
    if terms.hierarchy:
        truth = with_hierarchy(truth, terms.hierarchy)
    return only_images(truth, read_image_list(terms.images)) if terms.images else truth


def _looked_for(truth: Truth) -> pa.Table | None:
    """Of a federated truth what was verified, there or not: a box of anything else is neither right nor wrong."""
    if truth.negatives is None:
        return None
    return pa.concat_tables([table.select(["id", "concept_id"]) for table in (truth.negatives, truth.tags)])


def _remarks(found: FileEvaluation, aligned: Aligned, cap: Cap) -> Iterator[str]:
    """What the figures do not show by themselves."""
    if found.federated:
        yield (
            "Federated ground truth: mAP and F1 of tags, and mAP of boxes, are over the tags that were looked for in "
            "each image; recall is of all suggestions, beside it that among the tags that were looked for."
        )
    if found.images_without_predictions:
        yield f"Images without a prediction of these tags: {found.images_without_predictions:,}; all missed."
    if found.unknown_concept_rows:
        yield f"Predictions of tags outside the ground truth: {found.unknown_concept_rows:,}; left out before ranking."
    if found.other_image_rows:
        yield f"Predictions about images outside the ground truth: {found.other_image_rows:,}; left out."
    few = {f.band: f.images for f in found.tags.recall if f.images < FEW_IMAGES and f.k == HEADLINE_K}
    if few:
        shown = ", ".join(f"{band} {images}" for band, images in few.items())
        yield f"Bands on fewer than {FEW_IMAGES} images say little: {shown}."
    if aligned.tags.num_rows == 0:
        floor = found.tags.floor["overall"]
        yield f"Nothing is predicted: mAP {floor:.3f} is what every image tied for every tag gives, its floor."
    if found.grounding and found.grounding.over_the_cap:
        of = "each tag of an image" if cap.each_concept else "an image"
        yield (
            f"Boxes beyond the best {cap.regions:,} of {of}: {found.grounding.over_the_cap:,}; left out"
            f"{_crowded(aligned, cap)} (--cap coco, lvis or a number)."
        )


def _crowded(aligned: Aligned, cap: Cap) -> str:
    """How many true boxes the cap makes unreachable: `, though 1 image has up to 400 true boxes`."""
    boxes = aligned.truth.boxes
    assert boxes is not None, "there is grounding"
    keys = ["id", "concept_id"] if cap.each_concept else ["id"]
    counts = boxes.group_by(keys).aggregate([("bbox", "count")])
    most = pc.max(counts["bbox_count"]).as_py()
    return f", though an image has {most:,} true ones" if most > cap.regions else ""
