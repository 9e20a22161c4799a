"""`vistag evaluate --html`: the page of two files, with the files of lost tags, their pictures and what stood instead."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageOps, UnidentifiedImageError

from evaluation.evaluate import FileEvaluation
from evaluation.figures import Figures, RegionFigures, TagFigures
from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.confusions import confusions
from evaluation.metrics.recall_at_k import HEADLINE_K, pair_up, true_ranks
from evaluation.report.view import LongTailReport
from resources.previews import thumbnail

FILES_A_TAG, PICTURES_A_TAG, TAGS_WITH_PICTURES = 5, 3, 60


def file_report(
    found: FileEvaluation,
    ground_truth: Path,
    predictions: Path,
    created_at: datetime,
    pictures: Sequence[Path] = (),
) -> LongTailReport:
    """The report of two files.

    pictures: folders in which the files that the ground truth names may lie, beside those of the two files.
    """
    missed = _missed_files(found)
    folders = [*pictures, *(path if path.is_dir() else path.parent for path in (ground_truth, predictions))]
    return LongTailReport(
        Figures(
            tier=f"{predictions.name} against {ground_truth.name}",
            images=found.tags.images,
            rejects=0,
            tags=TagFigures(found.tags),
            regions=RegionFigures(found.grounding),
        ),
        created_at=created_at,
        examples=dict(_examples(missed, folders)),
        missed_on={concept: names[:FILES_A_TAG] for concept, names in missed.items()},
        confusions=_instead(found),
        remarks=found.remarks,
    )


def _missed_files(found: FileEvaluation) -> dict[str, list[str]]:
    """Rare tag -> the names of the images of `missed_images`."""
    images = found.aligned.truth.images
    name = dict(zip(images["id"].to_pylist(), images["name"].to_pylist(), strict=True))
    return {concept: [name[id_] for id_ in ids] for concept, ids in missed_images(found).items()}


def missed_images(found: FileEvaluation) -> dict[str, list[str]]:
    """Rare tag -> the ids of the images that carry it and lack it among the first HEADLINE_K; most missed first."""
    truth, rare = found.aligned.truth, _rare(found)
    concepts = pc.unique(truth.concepts["concept_id"]).to_pylist()
    pairs = pair_up(truth.tags, found.aligned.tags, concepts, truth.images["id"].to_pylist())
    missed: dict[str, list[str]] = {}
    for i in np.flatnonzero(true_ranks(pairs) > HEADLINE_K):
        concept = pairs.concepts[int(pairs.true_tag[i])].as_py()
        if concept in rare:
            missed.setdefault(concept, []).append(pairs.images[int(pairs.true_image[i])].as_py())
    return dict(sorted(missed.items(), key=lambda item: (-len(item[1]), item[0])))


def _rare(found: FileEvaluation) -> set[str]:
    tags = found.tags.tags
    return set(tags.filter(pc.equal(tags["band"], RARE_BAND))["concept_id"].to_pylist())


def _instead(found: FileEvaluation) -> pa.Table:
    """As `confusions`, without facets: any wrong tag among the first HEADLINE_K of an image may stand instead."""
    truth = found.aligned.truth
    concepts = pc.unique(truth.concepts["concept_id"]).to_pylist()
    facets = pa.table({"concept_id": concepts, "facet": ["tag"] * len(concepts)})
    return confusions(truth.tags, found.aligned.tags, concepts, sorted(_rare(found)), facets, (), HEADLINE_K)


def _examples(
    missed: Mapping[str, Sequence[str]], folders: Sequence[Path]
) -> Iterator[tuple[str, list[str]]]:
    """Rare tag -> small pictures of files on which it was missed, where they can be found."""
    for concept, names in [*missed.items()][:TAGS_WITH_PICTURES]:
        uris = [uri for name in names[:PICTURES_A_TAG] if (uri := _thumbnail(name, folders))]
        if uris:
            yield concept, uris


def _thumbnail(name: str, folders: Sequence[Path]) -> str | None:
    for folder in folders:
        for path in (folder / name, folder / "images" / name, folder.parent / "images" / name):
            try:
                with Image.open(path) as picture:
                    return thumbnail(ImageOps.exif_transpose(picture).convert("RGB"))
            except (OSError, UnidentifiedImageError, ValueError):
                continue  # not here, or no picture: the name stands alone
    return None
