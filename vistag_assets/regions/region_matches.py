"""Whether the crop of each region, seen by the encoder, shows what it was found as."""

from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.checked import check_counterparts
from resources.workspace import VistagResource, Workspace
from vistag_assets.folder_asset import Folder, Row, Rows, folder_asset, in_batches
from vistag_assets.lineage import answered, derived, joined, rows_by_id
from vistag_assets.regions.matching import CONFIRMED_FROM, NO_CONCEPT, REJECTED_BELOW, match_crops
from vistag_assets.regions.previews import preview_regions
from vistag_assets.regions.region_embeddings import best_vectors
from vistag_assets.whole_image.scoring import make_scorer

_IMAGES_AT_A_TIME = 16


def _about(folder: Folder) -> dict[str, Any]:
    return {
        "calibrated": folder.workspace.encoder.calibration is not None,
        "confirmed_from": CONFIRMED_FROM,
        "rejected_below": REJECTED_BELOW,
    }


_shown = preview_regions("region_matches", lambda row: f"{row['probability']:.2f} {row['verdict']}")


@folder_asset("Matching regions", kinds={"numpy"}, version=1, preview=_shown, about=_about)
def region_matches(
    folder: Folder, grounded_regions: pa.Table, region_embeddings: pa.Table, concept_embeddings: pa.Table
) -> Rows:
    """A model is needed for phrases that are no concept only."""
    workspace = folder.workspace
    scorer = folder.once(make_scorer, workspace, concept_embeddings)
    row_of = {concept_id: row for row, concept_id in enumerate(scorer.concept_ids)}
    rows_of = rows_by_id(grounded_regions)
    vector_of = dict(
        zip(region_embeddings["region_id"].to_pylist(), best_vectors(region_embeddings), strict=True)
    )
    wanted = derived(
        joined(answered(grounded_regions), answered(region_embeddings)),
        concepts=workspace.taxonomy.fingerprint,
        encoder=workspace.encoder.fingerprint,
        calibration=repr(scorer.calibration),
        share_with_broader=workspace.tier.share_with_broader,
        version=folder.version,
    )

    def match(ids: list[str]) -> pa.Table:
        regions = [row for id_ in ids for row in rows_of[id_]]
        rows = np.array([row_of.get(row["concept_id"], NO_CONCEPT) for row in regions])
        crops = np.stack([vector_of[row["region_id"]] for row in regions])
        matches = match_crops(crops, rows, _phrase_vectors(workspace, regions, rows, crops), scorer)
        return pa.table(
            {
                "id": [row["id"] for row in regions],
                "region_id": [row["region_id"] for row in regions],
                "concept_id": pa.array([row["concept_id"] for row in regions], pa.string()),
                "cosine": matches.cosine,
                "logit": matches.logit,
                "probability": matches.probability,
                "rank": matches.rank,
                "verdict": matches.verdicts,
            }
        )

    silent = frozenset(wanted["id"].to_pylist()) - rows_of.keys()
    return Rows(wanted, in_batches(_IMAGES_AT_A_TIME, match), without_rows=silent)


def _phrase_vectors(
    workspace: Workspace, regions: list[Row], concept_rows: NDArray[np.intp], like: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The embedding of the phrase of each region that has no concept; zeros for the others."""
    vectors = np.zeros_like(like)
    without = np.flatnonzero(concept_rows == NO_CONCEPT)
    if without.size:
        phrases, place = np.unique([regions[row]["phrase"] for row in without], return_inverse=True)
        vectors[without] = workspace.encoder.embed_texts([str(phrase) for phrase in phrases])[place]
    return vectors


@dg.asset_check(asset="region_matches", description="Every region that has an embedding has a match.")
def every_region_has_a_match(vistag: VistagResource) -> dg.AssetCheckResult:
    return check_counterparts(
        vistag.open().lake,
        "region_embeddings",
        "region_matches",
        "folder, region_id",
        things="regions with an embedding",
        name="match",
        article="a ",
    )
