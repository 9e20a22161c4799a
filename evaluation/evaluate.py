"""The figures of predictions against a ground truth, both from files of any format that `readers` knows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.figures import Cut, TagEvaluation, compute_tag_figures
from evaluation.metrics.bands import frequency_bands
from evaluation.metrics.grounding import GroundingEvaluation, grounding_recall
from evaluation.metrics.intervals import FEW_IMAGES
from evaluation.metrics.matching import COCO_CAP, LVIS_CAP, Cap, match_regions
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.readers import Aligned, Reading, Truth, UnusableFile, align, read_predictions, read_truth
from evaluation.readers.adjusting import (
    clipped,
    only_images,
    read_image_list,
    with_hierarchy,
    with_image_labels,
)
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
    bands = frequency_bands(truth.tags, concepts, lvis_bands=lvis_bands)
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
    grounding = None
    if truth.boxes is not None and aligned.boxes is not None and not pc.all(truth.boxes["crowd"]).as_py():
        matching = match_regions(
            truth.boxes,
            aligned.boxes,
            negatives=_looked_for(truth),
            not_exhaustive=truth.not_exhaustive,
            images=images,
            cap=terms.cap,
        )
        grounding = grounding_recall(matching, bands)
    spoken_of = pc.count_distinct(aligned.tags["id"]).as_py()
    found = FileEvaluation(
        tags,
        grounding,
        tags.images - spoken_of,
        aligned.unknown_concept_rows,
        aligned.other_image_rows,
        truth.negatives is not None,
        aligned,
    )
    return replace(found, remarks=(*aligned.remarks, *_remarks(found, aligned, terms.cap)))


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
        shown = ", ".join(f"{band} on {images}" for band, images in few.items())
        yield f"Bands that stand on few images: {shown}; their figures say little, whatever their interval."
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
