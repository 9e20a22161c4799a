"""The figures of predictions against a ground truth, both from files of any format that `readers` knows."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from evaluation.figures import Cut, TagEvaluation, compute_tag_figures
from evaluation.metrics.bands import frequency_bands
from evaluation.metrics.bootstrap import RESAMPLES
from evaluation.metrics.grounding import GroundingEvaluation, grounding_recall
from evaluation.metrics.matching import match_regions
from evaluation.readers import Aligned, Truth, UnusableFile, align, read_predictions, read_truth


@dataclass(frozen=True, slots=True)
class FileEvaluation:
    """Figures of two files; without boxes on both sides there is no grounding."""

    tags: TagEvaluation
    grounding: GroundingEvaluation | None
    images_without_predictions: int  # of evaluated concepts
    unknown_concept_rows: int  # predictions of concepts that are not evaluated, left out before ranking
    other_image_rows: int  # predictions about images that are not evaluated, left out
    federated: bool  # LVIS: only some categories were looked for in each image


def evaluate_files(
    ground_truth: Path,
    predictions: Path,
    ground_truth_format: str | None = None,
    predictions_format: str | None = None,
    f1_cut: Cut | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> FileEvaluation:
    """Read two files and measure the one against the other.

    Args:
        ground_truth_format, predictions_format: a key of `readers.FORMATS`; None: what the file looks like.
        f1_cut: which scored tags F1 takes as predicted; None: the first HEADLINE_K of each image.
        resamples, seed: of the bootstrap.

    Raises:
        UnusableFile: a file cannot be read, the two do not fit together, or the ground truth names no tag.
    """
    truth = read_truth(ground_truth, ground_truth_format)
    if truth.tags.num_rows == 0:
        raise UnusableFile(f"{ground_truth}: names no tag of any image, so there is nothing to find")
    return evaluate_aligned(
        truth, align(truth, read_predictions(predictions, predictions_format)), f1_cut, resamples, seed
    )


def evaluate_aligned(
    truth: Truth, aligned: Aligned, f1_cut: Cut | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> FileEvaluation:
    """As `evaluate_files`, of what was read."""
    concepts = truth.concepts["concept_id"].to_pylist()
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
        f1_cut=f1_cut or Cut(),
        resamples=resamples,
        seed=seed,
    )
    grounding = None
    if truth.boxes is not None and aligned.boxes is not None and not pc.all(truth.boxes["crowd"]).as_py():
        matching = match_regions(
            truth.boxes,
            aligned.boxes,
            negatives=truth.negatives,
            not_exhaustive=truth.not_exhaustive,
            images=images,
        )
        grounding = grounding_recall(matching, bands, resamples, seed)
    spoken_of = pc.count_distinct(aligned.tags["id"]).as_py()
    return FileEvaluation(
        tags,
        grounding,
        tags.images - spoken_of,
        aligned.unknown_concept_rows,
        aligned.other_image_rows,
        truth.negatives is not None,
    )
