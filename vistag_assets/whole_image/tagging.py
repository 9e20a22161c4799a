"""From proxies and a vocabulary to scored tags, and the checks beside them."""

import dagster as dg
import numpy as np

from resources.checked import checked
from resources.gpus import MODELS_POOL
from resources.images import open_proxy
from resources.lake import embedding_matrix
from resources.lake.counterparts import count_lacking
from resources.metadata import (
    ANY_SIZE,
    OWNERS,
    Preview,
    column_schema,
    moved_away,
    preview,
    thumbnail,
    update_counts,
)
from resources.workspace import VistagResource, Workspace
from vistag_assets.lineage import column_by_id
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.whole_image import stages
from vistag_assets.whole_image.best_tags import best_tags
from vistag_assets.whole_image.scoring import TAG_SCORES

PREVIEWED_TAGS = 5
UNIT_LENGTH_TOLERANCE = 2e-3
"""A float16 unit vector of any size is at most this far from length 1."""
_SAMPLED_EMBEDDINGS = 10_000


@dg.asset(
    deps=["proxies"],
    description="One unit vector an image, by the encoder of the tier.",
    metadata=column_schema(stages.embeddings_schema(ANY_SIZE)),
    group_name="whole_image",
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(stages.EMBEDDING_VERSION),
    pool=MODELS_POOL,
    **PER_FOLDER,
)
def global_embeddings(
    context: dg.AssetExecutionContext, vistag: VistagResource
) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Embedding images")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.embed_images(workspace, key, meter)
        computed += stats.computed
        seen = _neighbours_preview(workspace, key) if number < PREVIEWED_FOLDERS else {}
        rows = workspace.lake.read("global_embeddings", key, ["id"]).num_rows
        context.add_asset_metadata({**update_counts(stats, rows), **seen}, partition_key=key)
    return dg.MaterializeResult(
        metadata=meter.speed(computed, workspace.encoder.device)
        | {
            "tier": workspace.tier.name,
            "model": workspace.tier.encoder.name,
            "encoder": workspace.encoder.fingerprint,
            "dtype": workspace.tier.encoder.dtype,
            "licence": workspace.tier.encoder.licence,
            "dimension": workspace.encoder.dimension,
        }
    )


@dg.asset(
    description="One unit vector a phrase: every label of every concept in the templates of its facet.",
    metadata=column_schema(
        stages.concept_embeddings_schema(ANY_SIZE), text="a label of the concept in a template of its facet"
    ),
    group_name="whole_image",
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(stages.EMBEDDING_VERSION),
    pool=MODELS_POOL,
)
def concept_embeddings(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Embedding phrases")
    stats = stages.embed_concepts(workspace)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": stats.kept + stats.computed,
            "concepts": len(workspace.taxonomy.concepts),
            "phrases_kept": stats.kept,
            "phrases_computed": stats.computed,
            "phrases_dropped": stats.dropped,
            "taxonomy": workspace.taxonomy.fingerprint,
            "device": workspace.encoder.device,
            "model_loads": meter.model_loads,
            **moved_away(stats.quarantined),
        }
    )


@dg.asset(
    deps=["global_embeddings", "concept_embeddings"],
    description="The best tags of each image: cosine, logit, score and probability, ranked.",
    metadata=column_schema(TAG_SCORES),
    group_name="whole_image",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version=str(stages.SCORING_VERSION),
    **PER_FOLDER,
)
def tag_scores(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    scorer = stages.make_scorer(workspace)
    meter = Meter("Scoring tags")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.score_tags(workspace, scorer, key, meter)
        computed += stats.computed
        seen = _tags_preview(workspace, key) if number < PREVIEWED_FOLDERS else {}
        rows = workspace.lake.read("tag_scores", key, ["id"]).num_rows
        context.add_asset_metadata({**update_counts(stats, rows), **seen}, partition_key=key)
    return dg.MaterializeResult(
        metadata=meter.speed(computed, "cpu")
        | {
            "tier": workspace.tier.name,
            "taxonomy": workspace.taxonomy.fingerprint,
            "concepts": len(scorer.concept_ids),
            "calibrated": scorer.calibration is not None,
            "keep_top": scorer.keep_top,
            "share_with_broader": workspace.tier.share_with_broader,
        }
    )


@dg.asset_check(asset="global_embeddings", description="Embeddings have unit length (of a sample).")
def embeddings_are_unit_length(vistag: VistagResource) -> dg.AssetCheckResult:
    with vistag.open().lake.connect(skip_damaged=True) as sql:
        [(looked_at, wrong)] = sql.execute(
            "select count(*), count(*) filter "
            "(abs(sqrt(list_dot_product(embedding, embedding)) - 1) > $tolerance) from "
            f"(select embedding from global_embeddings using sample {_SAMPLED_EMBEDDINGS} rows)",
            {"tolerance": UNIT_LENGTH_TOLERANCE},
        ).fetchall()
    return checked("embeddings", looked_at, wrong, right="have length 1", fault="do not have length 1")


@dg.asset_check(asset="tag_scores", description="Every image that has an embedding has tag scores.")
def every_image_has_tag_scores(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    scored = set(lake.folders("tag_scores"))
    with lake.connect(skip_damaged=True) as sql:
        images, missing = count_lacking(
            sql,
            "(from global_embeddings where list_contains($scored, folder))",
            "tag_scores",
            "folder, id",
            {"scored": sorted(scored)},
        )
    return checked(
        "images with an embedding",
        images,
        missing,
        right="have tag scores",
        fault="have no tag scores; run their folders again",
    )


def _tags_preview(workspace: Workspace, key: str) -> Preview:
    proxies = workspace.lake.read("proxies", key, ["id", "path"]).slice(0, PREVIEWED_IMAGES).to_pylist()
    labels = workspace.taxonomy.pref_labels
    best = best_tags(workspace.lake, key, [proxy["id"] for proxy in proxies], PREVIEWED_TAGS)
    rows = [
        (
            thumbnail(open_proxy(workspace.home.root, proxy["path"])),
            ", ".join(f"{labels[tag.concept_id]} {tag.probability:.2f}" for tag in best[proxy["id"]]),
        )
        for proxy in proxies
    ]
    return preview(["image", f"best {PREVIEWED_TAGS} tags"], rows)


def _neighbours_preview(workspace: Workspace, key: str) -> Preview:
    """The first images, each beside the one of its folder that is most like it."""
    stored = workspace.lake.read("global_embeddings", key, ["id", "embedding"])
    vectors = embedding_matrix(stored["embedding"])
    path_of = column_by_id(workspace.lake.read("proxies", key, ["id", "path"]), "path")
    pictures = [path_of[id_] for id_ in stored["id"].to_pylist()]
    if len(pictures) < 2:
        return {}
    cosines = vectors[:PREVIEWED_IMAGES] @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    rows = [
        (
            thumbnail(open_proxy(workspace.home.root, pictures[place])),
            thumbnail(open_proxy(workspace.home.root, pictures[nearest])),
            f"{cosines[place, nearest]:.2f}",
        )
        for place, nearest in enumerate(cosines.argmax(axis=1))
    ]
    return preview(["image", "most like it", "cosine"], rows)
