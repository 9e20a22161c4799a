"""From proxies to how far away things are in them, and the check beside it."""

import dagster as dg

from resources.checked import checked
from resources.gpus import MODELS_POOL
from resources.images import open_proxy
from resources.metadata import OWNERS, Preview, column_schema, preview, thumbnail, update_counts
from resources.models.depth.maps import StoredDepth, decode_depth, depth_picture
from resources.workspace import VistagResource, Workspace
from vistag_assets.lineage import column_by_id
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.tierless import skipped
from vistag_assets.whole_image import depth_stages as stages

_SAMPLED_ROWS = 200


@dg.asset(
    deps=["proxies"],
    description="The depth of each image, estimated from it alone. Nothing where the tier names no estimator.",
    metadata=column_schema(stages.DEPTH_MAPS, height="pixels of the map", width="pixels of the map"),
    group_name="whole_image",
    kinds={"parquet", "pytorch"},
    owners=OWNERS,
    code_version=str(stages.DEPTH_VERSION),
    pool=MODELS_POOL,
    **PER_FOLDER,
)
def depth_maps(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    spec = workspace.tier.depth
    meter = Meter("Estimating depth")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.estimate_depth(workspace, key, meter)
        if stats is None:
            continue
        computed += stats.computed
        seen = _preview(workspace, key) if number < PREVIEWED_FOLDERS else {}
        rows = workspace.lake.read("depth_maps", key, ["id"]).num_rows
        context.add_asset_metadata({**update_counts(stats, rows), **seen}, partition_key=key)
    if spec is None:
        return skipped(workspace.tier, "depth")
    return dg.MaterializeResult(
        metadata=meter.speed(computed, workspace.depth.device)
        | {
            "tier": workspace.tier.name,
            "model": f"{spec.family} ({spec.name})",
            "estimator": workspace.depth.fingerprint,
            "dtype": spec.dtype,
            "licence": spec.licence,
        }
    )


@dg.asset_check(asset="depth_maps", description="A map has the size that its row says (of a sample).")
def depth_maps_have_their_size(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    rows: list[tuple[int, int, bytes, float, float]] = []
    if lake.folders("depth_maps"):
        with lake.connect(skip_damaged=True) as sql:
            rows = sql.execute(
                "select height, width, depth, depth_min, depth_max "
                f"from (select * from depth_maps using sample {_SAMPLED_ROWS} rows)"
            ).fetchall()
    wrong = sum(
        decode_depth(StoredDepth(depth, low, high)).shape != (height, width) or low > high
        for height, width, depth, low, high in rows
    )
    return checked(
        "depth maps",
        len(rows),
        wrong,
        right="have the size and the range that their rows say",
        fault="have another size or range than their rows say",
    )


def _preview(workspace: Workspace, key: str) -> Preview:
    """The first images beside their maps, in which near is white."""
    path_of = column_by_id(workspace.lake.read("proxies", key, ["id", "path"]), "path")
    rows = [
        (
            thumbnail(open_proxy(workspace.home.root, path_of[row["id"]])),
            thumbnail(
                depth_picture(StoredDepth(row["depth"], row["depth_min"], row["depth_max"]), row["unit"])
            ),
            f"{row['depth_min']:.3g} to {row['depth_max']:.3g} {row['unit']}",
        )
        for row in workspace.lake.read("depth_maps", key).slice(0, PREVIEWED_IMAGES).to_pylist()
    ]
    return preview(["image", "depth", "range"], rows)
