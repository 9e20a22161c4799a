"""From grounded regions to their masks, embeddings and matches, and the checks beside them."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pyarrow.compute as pc
from PIL import Image

from resources.checked import checked
from resources.gpus import MODELS_POOL
from resources.images import open_proxy
from resources.lake import UpdateStats
from resources.lake.counterparts import count_lacking
from resources.metadata import (
    ANY_SIZE,
    OWNERS,
    Preview,
    column_schema,
    preview,
    row_count,
    thumbnail,
    update_counts,
)
from resources.workspace import VistagResource, Workspace
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.regions import detail_stages as stages
from vistag_assets.regions.matching import CONFIRMED_FROM, REGION_MATCHES, REJECTED_BELOW
from vistag_assets.regions.previews import region_overlay
from vistag_assets.tierless import skipped
from vistag_assets.whole_image.stages import make_scorer

UNIT_LENGTH_TOLERANCE = 2e-3
_SAMPLED_ROWS = 10_000
_NO_REGIONS = (
    "nothing to do: the folder has no grounded_regions (the tier names no detector, or it has yet to run)"
)


@dg.asset(
    deps=["grounded_regions", "proxies"],
    description="The outline of each region whose facet the segmenter of the tier asks for, as COCO RLE.",
    metadata=column_schema(
        stages.REGION_MASKS,
        height="pixels of the proxy",
        width="pixels of the proxy",
        score="the segmenter's own estimate of its IoU, 0..1; null where it has none",
    ),
    group_name="regions",
    kinds={"parquet", "opencv", "pytorch"},
    owners=OWNERS,
    code_version=str(stages.MASK_VERSION),
    pool=MODELS_POOL,
    **PER_FOLDER,
)
def region_masks(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Outlining regions")
    spec = workspace.tier.segmenter
    computed = _per_folder(
        context, workspace, "region_masks", lambda key: stages.mask_regions(workspace, key, meter)
    )
    if spec is None:
        return skipped(workspace.tier, "segmenter")
    return dg.MaterializeResult(
        metadata=meter.speed(computed, workspace.segmenter.device)
        | {
            "tier": workspace.tier.name,
            "model": f"{spec.family} ({spec.name})",
            "segmenter": workspace.segmenter.fingerprint,
            "facets": ", ".join(stages.masked_facets(workspace)),
            "licence": spec.licence,
        }
    )


@dg.asset(
    deps=["grounded_regions", "region_masks", "proxies"],
    description="One unit vector a region, and one of the region without its background where it has a mask.",
    metadata=column_schema(stages.region_embeddings_schema(ANY_SIZE)),
    group_name="regions",
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(stages.REGION_EMBEDDING_VERSION),
    pool=MODELS_POOL,
    **PER_FOLDER,
)
def region_embeddings(
    context: dg.AssetExecutionContext, vistag: VistagResource
) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Embedding regions")
    computed = _per_folder(
        context, workspace, "region_embeddings", lambda key: stages.embed_regions(workspace, key, meter)
    )
    return dg.MaterializeResult(
        metadata=meter.speed(computed, workspace.encoder.device)
        | {
            "tier": workspace.tier.name,
            "model": workspace.tier.encoder.name,
            "encoder": workspace.encoder.fingerprint,
            "dimension": workspace.encoder.dimension,
        }
    )


@dg.asset(
    deps=["grounded_regions", "region_embeddings", "concept_embeddings"],
    description="Whether the crop of each region, seen by the encoder, shows what it was found as.",
    metadata=column_schema(
        REGION_MATCHES,
        concept_id="that the region was found as; null for a phrase outside the vocabulary",
        cosine="of the angle between crop and concept, -1..1",
        rank="of the concept among the whole vocabulary for this crop, 1 = best",
    ),
    group_name="regions",
    kinds={"parquet", "numpy"},
    owners=OWNERS,
    code_version=str(stages.MATCH_VERSION),
    **PER_FOLDER,
)
def region_matches(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    scorer = make_scorer(workspace)
    meter = Meter("Matching regions")
    computed = _per_folder(
        context, workspace, "region_matches", lambda key: stages.match_regions(workspace, scorer, key, meter)
    )
    return dg.MaterializeResult(
        metadata=meter.speed(computed, "cpu")
        | {
            "tier": workspace.tier.name,
            "taxonomy": workspace.taxonomy.fingerprint,
            "calibrated": scorer.calibration is not None,
            "confirmed_from": CONFIRMED_FROM,
            "rejected_below": REJECTED_BELOW,
        }
    )


@dg.asset_check(asset="region_masks", description="The area of a mask is its count of pixels (of a sample).")
def mask_areas_are_pixel_counts(vistag: VistagResource) -> dg.AssetCheckResult:
    from pycocotools import mask as coco

    rows = _sample(vistag.open(), "region_masks", "height, width, counts, area")
    wrong = sum(
        int(coco.area({"size": [height, width], "counts": counts.encode()})) != area
        for height, width, counts, area in rows
    )
    return checked(
        "masks",
        len(rows),
        wrong,
        right="have the area that they say",
        fault="have another area than they say",
    )


@dg.asset_check(asset="region_embeddings", description="Embeddings have unit length (of a sample).")
def region_embeddings_are_unit_length(vistag: VistagResource) -> dg.AssetCheckResult:
    lengths = (
        "sqrt(list_dot_product(embedding, embedding)), "
        "coalesce(sqrt(list_dot_product(masked_embedding, masked_embedding)), 1)"
    )
    rows = _sample(vistag.open(), "region_embeddings", lengths)
    wrong = sum(any(abs(length - 1) > UNIT_LENGTH_TOLERANCE for length in row) for row in rows)
    return checked(
        "regions", len(rows), wrong, right="have embeddings of length 1", fault="have one of another length"
    )


@dg.asset_check(asset="region_matches", description="Every region that has an embedding has a match.")
def every_region_has_a_match(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    matched = sorted(lake.folders("region_matches"))
    regions = missing = 0
    if matched:
        with lake.connect(skip_damaged=True) as sql:
            regions, missing = count_lacking(
                sql,
                "(from region_embeddings where list_contains($matched, folder))",
                "region_matches",
                "folder, region_id",
                {"matched": matched},
            )
    return checked(
        "regions with an embedding",
        regions,
        missing,
        right="have a match",
        fault="have no match; run their folders again",
    )


def _per_folder(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    table: str,
    update: Callable[[str], UpdateStats | None],
) -> int:
    """Update the folders of a run and say of each what was done; returns how many images were worked on."""
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = update(key)
        if stats is None:
            context.add_asset_metadata({"skipped": _NO_REGIONS, **row_count(0)}, partition_key=key)
            continue
        computed += stats.computed
        seen = _preview(workspace, key, table) if number < PREVIEWED_FOLDERS else {}
        rows = workspace.lake.read(table, key, ["id"]).num_rows
        context.add_asset_metadata({**update_counts(stats, rows), **seen}, partition_key=key)
    return computed


def _sample(workspace: Workspace, table: str, columns: str) -> list[tuple[Any, ...]]:
    if not workspace.lake.folders(table):
        return []
    with workspace.lake.connect(skip_damaged=True) as sql:
        return sql.execute(
            f"select {columns} from (select * from {table} using sample {_SAMPLED_ROWS} rows)"
        ).fetchall()


def _preview(workspace: Workspace, key: str, table: str) -> Preview:
    """The first images that have rows: their regions, and what the table says of each."""
    rows = workspace.lake.read(table, key)
    path_of = dict(
        zip(*workspace.lake.read("proxies", key, ["id", "path"]).to_pydict().values(), strict=True)
    )
    phrases = dict(
        zip(
            *workspace.lake.read("grounded_regions", key, ["region_id", "phrase"]).to_pydict().values(),
            strict=True,
        )
    )
    shown = []
    for id_ in pc.unique(rows["id"]).to_pylist()[:PREVIEWED_IMAGES]:
        image: Image.Image = open_proxy(workspace.home.root, path_of[id_])
        picture = thumbnail(region_overlay(workspace.lake, key, id_, image))
        lines = _lines(rows.filter(pc.equal(rows["id"], id_)).to_pylist(), phrases)
        shown.append((picture, ", ".join(lines)))
    return preview(["image", "regions"], shown)


def _lines(rows: list[stages.Row], phrases: dict[str, str]) -> Iterator[str]:
    for row in rows:
        said = phrases.get(row["region_id"], row["region_id"])
        if "area_share" in row:
            yield f"{said} {row['area_share']:.0%} of the image, {row['method']}"
        elif "verdict" in row:
            yield f"{said} {row['probability']:.2f} {row['verdict']}"
        else:
            yield f"{said}{' with mask' if row['masked_embedding'] else ''}"
