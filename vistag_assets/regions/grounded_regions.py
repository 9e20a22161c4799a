"""From scored tags to grounded regions, and the check that no region is of a concept nobody asked for."""

import dagster as dg

from resources.checked import checked
from resources.gpus import MODELS_POOL
from resources.images import open_proxy
from resources.metadata import OWNERS, Preview, column_schema, preview, thumbnail, update_counts
from resources.workspace import VistagResource, Workspace
from vistag_assets.lineage import of_ids
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.regions import stages
from vistag_assets.regions.grounding import GROUNDED_REGIONS
from vistag_assets.regions.short_list import CANDIDATES
from vistag_assets.tierless import skipped

PREVIEWED_REGIONS = 5
PREVIEWED_PHRASES = 12
PREVIEW_PX = 240


@dg.asset(
    deps=["tag_scores", "captions"],
    description="The phrases to look for in each image: likely tags, rare tags with a lower bar, proposals.",
    metadata=column_schema(
        CANDIDATES,
        reason="why it is looked for: score, tail (the lower bar) or vlm (proposed)",
        probability="of tag_scores; null for a proposal",
        concept_id="of the vocabulary; null for a phrase that is not in it",
    ),
    group_name="regions",
    kinds={"parquet", "python"},
    owners=OWNERS,
    code_version=str(stages.CANDIDATES_VERSION),
    **PER_FOLDER,
)
def candidates(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    if workspace.tier.detector is None:
        return skipped(workspace.tier, "detector")
    meter = Meter("Listing candidates")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.list_candidates(workspace, key, meter)
        computed += stats.computed
        rows = workspace.lake.read("candidates", key, ["reason"])
        by_reason = {
            f"{row['values']}_candidates": row["counts"] for row in rows["reason"].value_counts().to_pylist()
        }
        seen = _phrases_preview(workspace, key) if number < PREVIEWED_FOLDERS else {}
        context.add_asset_metadata(
            {**update_counts(stats, rows.num_rows), **by_reason, **seen}, partition_key=key
        )
    return dg.MaterializeResult(
        metadata=meter.speed(computed, "cpu")
        | {"tier": workspace.tier.name, "taxonomy": workspace.taxonomy.fingerprint}
    )


@dg.asset(
    deps=["candidates", "proxies"],
    description="Boxes of the candidates that the detector finds, with its scores and what it was asked.",
    metadata=column_schema(
        GROUNDED_REGIONS,
        score="the detector's confidence in box and phrase, 0..1",
        concept_id="of the vocabulary; null for a phrase that is not in it",
    ),
    group_name="regions",
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(stages.GROUNDING_VERSION),
    pool=MODELS_POOL,
    **PER_FOLDER,
)
def grounded_regions(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    if workspace.tier.detector is None:
        return skipped(workspace.tier, "detector")
    meter = Meter("Grounding regions")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.ground_regions(workspace, key, meter)
        computed += stats.computed
        rows = workspace.lake.read("grounded_regions", key, ["id"]).num_rows
        seen = _regions_preview(workspace, key) if number < PREVIEWED_FOLDERS else {}
        context.add_asset_metadata({**update_counts(stats, rows), **seen}, partition_key=key)
    return dg.MaterializeResult(
        metadata=meter.speed(computed, workspace.detector.device)
        | {
            "tier": workspace.tier.name,
            "model": workspace.tier.detector.name,
            "detector": workspace.detector.fingerprint,
            "dtype": workspace.tier.detector.dtype,
            "licence": workspace.tier.detector.licence,
            "chunk_phrases": workspace.tier.detector.chunk_phrases,
            "min_score": workspace.tier.detector.min_score,
            "nms_iou": workspace.tier.detector.nms_iou,
        }
    )


@dg.asset_check(
    asset="grounded_regions",
    description="Every region is of a phrase and a concept that was asked of its image.",
)
def regions_were_asked_for(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    regions = strangers = 0
    if lake.folders("grounded_regions"):
        with lake.connect(skip_damaged=True) as sql:
            [(regions, strangers)] = sql.execute(
                "select count(*), count(*) filter (not exists ("
                "  from candidates c where c.folder = r.folder and c.id = r.id and c.phrase = r.phrase"
                "  and c.concept_id is not distinct from r.concept_id)) from grounded_regions r"
            ).fetchall()
    return checked(
        "regions",
        regions,
        strangers,
        right="are of a phrase that was asked of their image",
        fault="are of a phrase or a concept that was not asked of their image; run its folder again",
    )


def _phrases_preview(workspace: Workspace, key: str) -> Preview:
    """What is looked for in the first images, rarer tags and proposals with their reason."""
    proxies = workspace.lake.read("proxies", key, ["id", "path"]).slice(0, PREVIEWED_IMAGES).to_pylist()
    phrases: dict[str, list[str]] = {proxy["id"]: [] for proxy in proxies}
    candidates = workspace.lake.read("candidates", key, ["id", "phrase", "reason"])
    for row in of_ids(candidates, list(phrases)).to_pylist():
        reason = "" if row["reason"] == "score" else f" ({row['reason']})"
        phrases[row["id"]].append(row["phrase"] + reason)
    rows = [
        (
            thumbnail(open_proxy(workspace.home.root, proxy["path"])),
            ", ".join(phrases[proxy["id"]][:PREVIEWED_PHRASES]),
            len(phrases[proxy["id"]]),
        )
        for proxy in proxies
    ]
    return preview(["image", f"first {PREVIEWED_PHRASES} phrases", "of"], rows)


def _regions_preview(workspace: Workspace, key: str) -> Preview:
    """The best regions of the first images, drawn and told."""
    ids = workspace.lake.read("proxies", key, ["id"]).slice(0, PREVIEWED_IMAGES)["id"].to_pylist()
    regions = of_ids(workspace.lake.read("grounded_regions", key, ["id", "phrase", "score"]), ids)
    found: dict[str, list[str]] = {id_: [] for id_ in ids}
    for row in regions.sort_by([("score", "descending")]).to_pylist():
        found[row["id"]].append(f"{row['phrase']} {row['score']:.2f}")
    pictures = stages.overlays(workspace, key, ids, PREVIEWED_REGIONS)
    rows = [
        (thumbnail(picture, PREVIEW_PX), ", ".join(found[id_][:PREVIEWED_REGIONS]))
        for id_, picture in pictures.items()
    ]
    return preview(["image", f"best {PREVIEWED_REGIONS} regions"], rows)
