"""The best tags of each image: cosine, logit, score and probability, ranked. No model is needed for it."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from resources.checked import check_counterparts
from resources.lake import embedding_matrix
from resources.previews import Preview, preview
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, Rows, folder_asset, in_batches
from vistag_assets.lineage import derived
from vistag_assets.whole_image.best_tags import best_tags
from vistag_assets.whole_image.calibration import read_home_calibration
from vistag_assets.whole_image.catalogue_priors import read_home_priors
from vistag_assets.whole_image.familiarity import stamped, unfamiliar, with_tempered
from vistag_assets.whole_image.home_adapter import read_home_adapter
from vistag_assets.whole_image.scoring import make_scorer, score_images

PREVIEWED_TAGS = 5
_IMAGES_AT_A_TIME = 2048


def _best(folder: Folder) -> Preview:
    pictures, labels = folder.thumbnails(), folder.workspace.taxonomy.pref_labels
    best = best_tags(folder.lake, folder.key, list(pictures), PREVIEWED_TAGS)
    rows = [
        (picture, ", ".join(f"{labels[tag.concept_id]} {tag.probability:.2f}" for tag in best[id_]))
        for id_, picture in pictures.items()
    ]
    return preview(["image", f"best {PREVIEWED_TAGS} tags"], rows)


def _about(folder: Folder) -> dict[str, Any]:
    workspace = folder.workspace
    own = read_home_calibration(workspace.home, workspace.encoder)
    adapter = read_home_adapter(workspace.home, workspace.encoder)
    priors = read_home_priors(workspace.home, workspace.encoder.fingerprint)
    return {
        "concepts": len(workspace.taxonomy.concepts),
        "calibrated": own is not None or workspace.encoder.calibration is not None,
        **({"calibration": own.name} if own else {}),
        **({"adapter": adapter.name} if adapter else {}),
        **({"priors": f"{priors.way} x {priors.weight:g}, {priors.source}"} if priors else {}),
        "keep_top": workspace.tier.keep_top,
        "share_with_broader": workspace.tier.share_with_broader,
    }


@folder_asset("Scoring tags", kinds={"numpy"}, version=1, preview=_best, about=_about)
def tag_scores(
    folder: Folder, global_embeddings: pa.Table, concept_embeddings: pa.Table, familiarity: pa.Table | None
) -> Rows:
    workspace = folder.workspace
    scorer = folder.once(make_scorer, workspace, concept_embeddings)
    strange = unfamiliar(familiarity)

    def score(ids: list[str]) -> pa.Table:
        indices = pc.index_in(pa.array(ids), value_set=global_embeddings["id"].combine_chunks())
        rows = score_images(ids, embedding_matrix(global_embeddings["embedding"].take(indices)), scorer)
        return with_tempered(rows, strange, len(scorer.concept_ids))

    wanted = derived(
        global_embeddings,
        concepts=workspace.taxonomy.fingerprint,
        encoder=workspace.encoder.fingerprint,
        calibration=repr(scorer.calibration),
        keep_top=scorer.keep_top,
        share_with_broader=workspace.tier.share_with_broader,
        version=folder.version,
        **({"adapter": scorer.adapted.version} if scorer.adapted else {}),
        **({"priors": scorer.priors.version} if scorer.priors else {}),
    )
    return Rows(stamped(wanted, strange), in_batches(_IMAGES_AT_A_TIME, score))


@dg.asset_check(asset="tag_scores", description="Every image that has an embedding has tag scores.")
def every_image_has_tag_scores(vistag: VistagResource) -> dg.AssetCheckResult:
    return check_counterparts(
        vistag.open().lake,
        "global_embeddings",
        "tag_scores",
        "folder, id",
        things="images with an embedding",
        name="tag scores",
    )
