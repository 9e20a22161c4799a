"""Which images go to the heavy lane, and the check of the budget."""

import dagster as dg
import pyarrow as pa

from resources.checked import checked
from resources.images import open_proxy
from resources.metadata import OWNERS, Preview, column_schema, preview, thumbnail, update_counts
from resources.workspace import VistagResource, Workspace
from vistag_assets.language import lanes_stages as stages
from vistag_assets.language.lanes import ROUTED_OPTIONS, WEIGHTS, heavy_places
from vistag_assets.lineage import column_by_id
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter


@dg.asset(
    deps=["tag_scores", "ocr_text", "captions"],
    description="The lane of each image, fast or heavy, with the reasons and within the tier's budget.",
    metadata=column_schema(stages.ROUTING),
    group_name="language",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=str(stages.ROUTING_VERSION),
    **PER_FOLDER,
)
def routing(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Routing")
    images = heavy = 0
    for number, key in enumerate(context.partition_keys):
        with meter.timed():
            stats = stages.route_images(workspace, key)
        rows = workspace.lake.read("routing", key)
        sent = rows["lane"].to_pylist().count("heavy")
        images, heavy = images + rows.num_rows, heavy + sent
        reasons = [reason for found in rows["reasons"].to_pylist() for reason in found]
        context.add_asset_metadata(
            {
                **update_counts(stats, rows.num_rows),
                "heavy": sent,
                **{f"reason_{reason}": reasons.count(reason) for reason in WEIGHTS},
                **(_preview(workspace, key, rows) if number < PREVIEWED_FOLDERS else {}),
            },
            partition_key=key,
        )
    return dg.MaterializeResult(
        metadata=meter.speed(images, "cpu")
        | {
            "tier": workspace.tier.name,
            "option": workspace.tier.option,
            "budget": workspace.tier.routing.budget,
            "heavy_share": heavy / images if images else 0.0,
        }
    )


@dg.asset_check(
    asset="routing", description="No folder sends more images to the heavy lane than its budget allows."
)
def heavy_lane_is_within_budget(vistag: VistagResource) -> dg.AssetCheckResult:
    workspace = vistag.open()
    budget = workspace.tier.routing.budget
    counts: list[tuple[str, int, int]] = []
    if workspace.tier.option in ROUTED_OPTIONS and workspace.lake.folders("routing"):
        with workspace.lake.connect(skip_damaged=True) as sql:
            counts = sql.execute(
                "select folder, count(*), count(*) filter (lane = 'heavy') from routing group by folder order by folder"
            ).fetchall()
    over = [folder for folder, images, heavy in counts if heavy > heavy_places(images, budget)]
    return checked(
        "routed folders",
        len(counts),
        over,
        right=f"send at most {budget:.0%} of their images to the heavy lane",
        fault=f"send more than {budget:.0%} of their images to the heavy lane; run them again",
        option=workspace.tier.option,
        budget=budget,
    )


def _preview(workspace: Workspace, key: str, rows: pa.Table) -> Preview:
    """The images that ask for the heavy lane most."""
    path_of = column_by_id(workspace.lake.read("proxies", key, ["id", "path"]), "path")
    first = rows.sort_by([("priority", "descending"), ("id", "ascending")]).slice(0, PREVIEWED_IMAGES)
    shown = [
        (
            thumbnail(open_proxy(workspace.home.root, path_of[row["id"]])),
            row["lane"],
            ", ".join(row["reasons"]),
            f"{row['priority']:.2f}",
        )
        for row in first.to_pylist()
    ]
    return preview(["image", "lane", "reasons", "priority"], shown)
