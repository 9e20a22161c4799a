"""From a folder of files to images, rejects and proxies, and the check that no file was overlooked."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from resources.checked import checked
from resources.images import open_proxy, scan_folder
from resources.metadata import OWNERS, column_schema, counted, directory_of, moved_away, row_count
from resources.object_store import location
from resources.previews import Preview, preview, show, thumbnail
from resources.tables import IMAGES, PROXIES, REJECTS, Table
from resources.workspace import VistagResource, Workspace, require_card
from vistag_assets.failures import told_first
from vistag_assets.ingest.carry import Elsewhere
from vistag_assets.ingest.files import ingest_files, prune
from vistag_assets.lineage import column_by_id
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES, READ_AGAIN
from vistag_assets.progress import Meter

PREVIEWED_REJECTS = 20


def _spec(table: Table, *kinds: str, deps: Sequence[str] = ("images",)) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=deps,
        description=table.about,
        metadata=column_schema(table),
        group_name=table.group,
        kinds={"parquet", *kinds},
        owners=OWNERS,
        code_version="1",
    )


@dg.multi_asset(
    name="ingest",
    specs=[
        _spec(IMAGES, "image", deps=()),
        _spec(REJECTS),  # of the same files: what is no row of images; draws it beside them
        _spec(PROXIES, "jpeg"),
    ],
    **PER_FOLDER,
)
def ingest(context: dg.AssetExecutionContext, vistag: VistagResource) -> Iterator[dg.MaterializeResult[None]]:
    with told_first():
        yield from _ingested(context, vistag.open())


def _ingested(
    context: dg.AssetExecutionContext, workspace: Workspace
) -> Iterator[dg.MaterializeResult[None]]:
    require_card(workspace.tier)  # a tier that cannot run here fails now, before hours of decoding
    _ = workspace.encoder.fingerprint
    meter, elsewhere = Meter("Reading images"), Elsewhere(workspace.lake)
    read_again = READ_AGAIN in context.run.tags
    removed = 0
    for number, key in enumerate(context.partition_keys):
        folder = workspace.home.folder(key)
        stats = ingest_files(workspace, folder, meter, elsewhere, read_again=read_again)
        removed += stats.removed
        gone = counted({"gone": stats.gone})
        counts: dict[str, Any] = {"decoded": stats.decoded, **meter.speed(stats.decoded, "cpu")}
        counts |= counted({"kept": stats.kept, "removed": stats.removed})
        of_files = counted({"rejects": stats.rejects, "carried": stats.carried})
        directory = directory_of(workspace.home, key)
        for asset, rows, more, look in (
            ("images", stats.images, {**directory, **counts, **of_files}, _images_preview),
            ("rejects", stats.rejects, {}, _rejects_preview),
            ("proxies", stats.images, counts, _proxies_preview),
        ):
            seen: dict[str, Any] = {}
            if number < PREVIEWED_FOLDERS:
                seen = show(workspace.home, asset, key, look(workspace, key), context.run.run_id)
            lost = moved_away(stats.quarantined.get(asset))
            context.add_asset_metadata(
                {**row_count(rows), **more, **seen, **lost, **gone},
                asset_key=asset,
                partition_key=key,
            )
    if removed:
        prune(workspace)
    for asset in ("images", "rejects", "proxies"):
        yield dg.MaterializeResult(asset)


@dg.asset_check(
    asset="images",
    description="Every image file of a known folder is a row of images, another name of one, or a reject.",
)
def images_and_rejects_cover_the_folder(vistag: VistagResource) -> dg.AssetCheckResult:
    workspace = vistag.open()
    files, missing = 0, list[str]()
    for key in workspace.lake.folders("images"):
        folder = workspace.home.folder(key)
        if not folder.directory.is_dir():
            continue
        images = workspace.lake.read("images", key, ["path", "also_at"]).to_pylist()
        accounted = {row["path"] for row in images} | {name for row in images for name in row["also_at"]}
        accounted |= set(workspace.lake.read("rejects", key, ["path"])["path"].to_pylist())
        exclude = workspace.settings.excluded.get(folder.library, ())
        there = [entry.path for entry in scan_folder(folder.directory, location(folder.root), exclude)]
        files += len(there)
        missing += [path for path in there if path not in accounted]
    return checked(
        "image files",
        files,
        missing,
        right="are images or rejects",
        fault="are neither images nor rejects; run their folders again",
        severity=dg.AssetCheckSeverity.WARN,
    )


def _images_preview(workspace: Workspace, key: str) -> Preview:
    columns = ["id", "path", "width", "height", "format", "bytes"]
    proxy_of = column_by_id(workspace.lake.read("proxies", key, ["id", "path"]), "path")
    rows = [
        (
            thumbnail(open_proxy(workspace.home.root, proxy_of[image["id"]])),
            image["path"],
            f"{image['width']} x {image['height']}",
            image["format"],
            f"{image['bytes'] / 1000:,.0f} kB",
        )
        for image in workspace.lake.read("images", key, columns).slice(0, PREVIEWED_IMAGES).to_pylist()
    ]
    return preview(["image", "path", "pixels", "format", "size"], rows)


def _rejects_preview(workspace: Workspace, key: str) -> Preview:
    rejects = workspace.lake.read("rejects", key, ["path", "code", "reason"]).slice(0, PREVIEWED_REJECTS)
    return preview(["file", "code", "reason"], [tuple(row.values()) for row in rejects.to_pylist()])


def _proxies_preview(workspace: Workspace, key: str) -> Preview:
    proxies = workspace.lake.read("proxies", key, ["path", "width", "height"]).slice(0, PREVIEWED_IMAGES)
    rows = [
        (thumbnail(open_proxy(workspace.home.root, proxy["path"])), f"{proxy['width']} x {proxy['height']}")
        for proxy in proxies.to_pylist()
    ]
    return preview(["proxy", "pixels"], rows)
