"""From a folder of files to images, rejects and proxies, and the check that no file was overlooked."""

from collections.abc import Iterator

import dagster as dg

from resources.images import IMAGES_SCHEMA, PROXIES_SCHEMA, REJECTS_SCHEMA, open_proxy, scan_folder
from resources.metadata import OWNERS, column_schema, markdown_table, moved_away, row_count, thumbnail
from resources.object_store import location
from resources.workbench import VistagResource, Workbench, require_card
from vistag_assets import stages
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter


@dg.multi_asset(
    name="ingest",
    specs=[
        dg.AssetSpec(
            "images",
            description="One row a picture: content hash, path, size, format, time, perceptual hash.",
            metadata=column_schema(IMAGES_SCHEMA),
            group_name="ingest",
            kinds={"parquet", "image"},
            owners=OWNERS,
            code_version="1",
        ),
        dg.AssetSpec(
            "rejects",
            description="Files that cannot be used, each with the reason and what to do about it.",
            metadata=column_schema(REJECTS_SCHEMA),
            group_name="ingest",
            kinds={"parquet"},
            owners=OWNERS,
            code_version="1",
        ),
        dg.AssetSpec(
            "proxies",
            description="Bounded working copies: upright, sRGB, 8 bit. Later stages read these only.",
            metadata=column_schema(PROXIES_SCHEMA),
            group_name="ingest",
            kinds={"parquet", "jpeg"},
            owners=OWNERS,
            code_version="1",
        ),
    ],
    **PER_FOLDER,
)
def ingest(context: dg.AssetExecutionContext, vistag: VistagResource) -> Iterator[dg.MaterializeResult[None]]:
    bench = vistag.open()
    require_card(bench.tier)  # a tier that cannot run here fails now, before hours of decoding
    _ = bench.encoder.fingerprint
    meter = Meter("Reading images")
    decoded, removed = 0, 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.ingest(bench, bench.home.folder(key), meter)
        decoded, removed = decoded + stats.decoded, removed + stats.removed
        counts = {"decoded": stats.decoded, "kept": stats.kept, "removed": stats.removed}
        preview = {"preview": _proxies_preview(bench, key)} if number < PREVIEWED_FOLDERS else {}
        for asset, rows, more in (
            ("images", stats.images, counts),
            ("rejects", stats.rejects, {}),
            ("proxies", stats.images, counts | preview),
        ):
            lost = moved_away(stats.quarantined.get(asset))
            context.add_asset_metadata(
                {**row_count(rows), **more, **lost}, asset_key=asset, partition_key=key
            )
    if removed:
        stages.prune(bench)
    for asset in ("images", "rejects", "proxies"):
        yield dg.MaterializeResult(asset, metadata=meter.speed(decoded, "cpu"))


@dg.asset_check(
    asset="images",
    description="Every image file of a known folder is a row of images, another name of one, or a reject.",
)
def images_and_rejects_cover_the_folder(vistag: VistagResource) -> dg.AssetCheckResult:
    bench = vistag.open()
    missing: list[str] = []
    for key in bench.lake.folders("images"):
        folder = bench.home.folder(key)
        if not folder.directory.is_dir():
            continue
        images = bench.lake.read("images", key, ["path", "also_at"]).to_pylist()
        accounted = {row["path"] for row in images} | {name for row in images for name in row["also_at"]}
        accounted |= set(bench.lake.read("rejects", key, ["path"])["path"].to_pylist())
        missing += [
            entry.path
            for entry in scan_folder(folder.directory, location(folder.root))
            if entry.path not in accounted
        ]
    return dg.AssetCheckResult(
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missing": len(missing), "such_as": ", ".join(missing[:10])},
    )


def _proxies_preview(bench: Workbench, key: str) -> dg.MarkdownMetadataValue:
    proxies = bench.lake.read("proxies", key, ["path", "width", "height"]).slice(0, PREVIEWED_IMAGES)
    rows = [
        (thumbnail(open_proxy(bench.home.root, proxy["path"])), f"{proxy['width']} x {proxy['height']}")
        for proxy in proxies.to_pylist()
    ]
    return dg.MetadataValue.md(markdown_table(["proxy", "pixels"], rows))
