"""The final tags of each image, with the evidence behind each, and the checks beside them."""

import dagster as dg

from resources.metadata import OWNERS, column_schema, markdown_table, update_counts
from resources.workbench import VistagResource, Workbench
from vistag_assets import fused_tag_stages as stages
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.tag_evidence import SOURCES, TABLES_OF

PREVIEWED_TAGS = 8
_EVIDENCE_TABLES = sorted({name for source in SOURCES for name in TABLES_OF[source]})


@dg.asset(
    deps=["proxies", "concept_embeddings", *_EVIDENCE_TABLES],
    description="The final tags: every source's evidence fused into one calibrated probability; people's decisions stay.",
    metadata=column_schema(stages.TAGS),
    group_name="tagging",
    kinds={"parquet", "duckdb", "scikitlearn"},
    owners=OWNERS,
    code_version=str(stages.FUSED_TAGS_VERSION),
    **PER_FOLDER,
)
def tags(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    bench = vistag.open()
    tagger = stages.make_tagger(bench)
    meter = Meter("Fusing tags")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.fuse_tags(bench, tagger, key, meter)
        computed += stats.computed
        preview = {"preview": _preview(bench, key)} if number < PREVIEWED_FOLDERS else {}
        rows = bench.lake.read("tags", key, ["id"]).num_rows
        context.add_asset_metadata({**update_counts(stats, rows), **preview}, partition_key=key)
    return dg.MaterializeResult(
        metadata=meter.speed(computed, "cpu")
        | {
            "tier": bench.tier.name,
            "option": bench.tier.option,
            "sources": ", ".join(source for source in SOURCES if source in tagger.sources),
            "fusion": tagger.fusion.version,
            "taxonomy": bench.taxonomy.fingerprint,
            **{f"tags_{name}": value for name, value in bench.tier.tags.model_dump().items()},
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
        [(strangers,)] = sql.execute(
            "select count(*) from (select id, unnest(region_ids) as region_id from tags where state = 'machine') "
            f"anti join {known} using (id, region_id)"
        ).fetchall()
    return dg.AssetCheckResult(passed=strangers == 0, metadata={"strangers": strangers})


@dg.asset_check(asset="tags", description="Probabilities lie in 0..1 and fall with the rank.")
def tags_are_ranked_by_probability(vistag: VistagResource) -> dg.AssetCheckResult:
    with vistag.open().lake.connect(skip_damaged=True) as sql:
        [(wrong,)] = sql.execute(
            "select count(*) from (select probability, lag(probability) over "
            "(partition by folder, id, needs_review order by rank) as better from tags where state = 'machine') "
            "where probability not between 0 and 1 or probability > better"
        ).fetchall()
    return dg.AssetCheckResult(passed=wrong == 0, metadata={"wrong": wrong})


def _preview(bench: Workbench, key: str) -> dg.MarkdownMetadataValue:
    """The best tags of some images as a table of their evidence."""
    images = bench.lake.read("images", key, ["id", "path"]).slice(0, PREVIEWED_IMAGES).to_pylist()
    rows = bench.lake.read("tags", key).sort_by("rank").to_pylist()
    lines = [
        (
            image["path"],
            tag["phrase"] + (" (ungrounded)" if tag["ungrounded"] else ""),
            *(
                "" if tag[column] is None else f"{tag[column]:.2f}"
                for column in ("probability", "global_probability", "detector_score", "region_probability")
            ),
            " ".join(tag["region_ids"]),
        )
        for image in images
        for tag in [row for row in rows if row["id"] == image["id"]][:PREVIEWED_TAGS]
    ]
    header = ["image", "tag", "fused", "global", "detector", "match", "regions"]
    return dg.MetadataValue.md(markdown_table(header, lines))
