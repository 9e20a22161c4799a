"""The final tags of each image, with the evidence behind each, and the checks beside them."""

import dagster as dg

from resources.checked import checked
from resources.images import open_proxy
from resources.lake.counterparts import count_lacking
from resources.metadata import OWNERS, Preview, column_schema, preview, thumbnail, update_counts
from resources.workspace import VistagResource, Workspace
from vistag_assets.lineage import of_ids
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.tags import stages
from vistag_assets.tags.evidence import SOURCES, TABLES_OF

PREVIEWED_TAGS = 8
_EVIDENCE_TABLES = sorted({name for source in SOURCES for name in TABLES_OF[source]})


@dg.asset(
    deps=["proxies", "concept_embeddings", *_EVIDENCE_TABLES],
    description="The final tags: every source's evidence fused into one calibrated probability; people's decisions stay.",
    metadata=column_schema(
        stages.TAGS,
        concept_id="of the vocabulary; null for a phrase that is not in it",
        phrase="the label, or what was proposed",
        probability="fused of all evidence and calibrated, 0..1",
        inherited_from="the narrower concept that lent probability and evidence",
    ),
    group_name="tags",
    kinds={"parquet", "duckdb", "scikitlearn"},
    owners=OWNERS,
    code_version=str(stages.FUSED_TAGS_VERSION),
    **PER_FOLDER,
)
def tags(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    tagger = stages.make_tagger(workspace)
    meter = Meter("Fusing tags")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.fuse_tags(workspace, tagger, key, meter)
        computed += stats.computed
        seen = _preview(workspace, key) if number < PREVIEWED_FOLDERS else {}
        rows = workspace.lake.read("tags", key, ["id"]).num_rows
        context.add_asset_metadata({**update_counts(stats, rows), **seen}, partition_key=key)
    return dg.MaterializeResult(
        metadata=meter.speed(computed, "cpu")
        | {
            "tier": workspace.tier.name,
            "option": workspace.tier.option,
            "sources": ", ".join(source for source in SOURCES if source in tagger.sources),
            "fusion": tagger.fusion.version,
            "taxonomy": workspace.taxonomy.fingerprint,
            **{f"tags_{name}": value for name, value in workspace.tier.tags.model_dump().items()},
        }
    )


@dg.asset_check(asset="tags", description="Every region that a tag names is a region of its image.")
def tags_name_regions_that_exist(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    with lake.connect(skip_damaged=True) as sql:
        known = (
            "grounded_regions"
            if "grounded_regions" in lake.tables()
            else "(select '' as id, '' as region_id)"
        )
        named, strangers = count_lacking(
            sql,
            "(select id, unnest(region_ids) as region_id from tags where state = 'machine')",
            known,
            "id, region_id",
        )
    return checked(
        "regions that tags name",
        named,
        strangers,
        right="are regions of their image",
        fault="are no regions of their image; run its folder again",
    )


@dg.asset_check(asset="tags", description="Probabilities lie in 0..1 and fall with the rank.")
def tags_are_ranked_by_probability(vistag: VistagResource) -> dg.AssetCheckResult:
    with vistag.open().lake.connect(skip_damaged=True) as sql:
        [(tags_of_machine, wrong)] = sql.execute(
            "select count(*), count(*) filter (probability not between 0 and 1 or probability > better) "
            "from (select probability, lag(probability) over "
            "(partition by folder, id, needs_review order by rank) as better from tags where state = 'machine')"
        ).fetchall()
    return checked(
        "tags",
        tags_of_machine,
        wrong,
        right="have a probability within 0..1 that falls with the rank",
        fault="have a probability outside 0..1, or above that of a better rank",
    )


def _preview(workspace: Workspace, key: str) -> Preview:
    """The best tags of some images as a table of their evidence."""
    images = workspace.lake.read("proxies", key, ["id", "path"]).slice(0, PREVIEWED_IMAGES).to_pylist()
    shown = of_ids(workspace.lake.read("tags", key), [image["id"] for image in images])
    rows = shown.sort_by("rank").to_pylist()
    lines = [
        (
            # the picture stands beside the first of its tags
            "" if place else thumbnail(open_proxy(workspace.home.root, image["path"])),
            tag["phrase"] + (" (ungrounded)" if tag["ungrounded"] else ""),
            *(
                "" if tag[column] is None else f"{tag[column]:.2f}"
                for column in ("probability", "global_probability", "detector_score", "region_probability")
            ),
            " ".join(tag["region_ids"]),
        )
        for image in images
        for place, tag in enumerate([row for row in rows if row["id"] == image["id"]][:PREVIEWED_TAGS])
    ]
    return preview(["image", "tag", "fused", "global", "detector", "match", "regions"], lines)
