"""An asset a format: what the lake knows, as files of other programs."""

from typing import Any

import dagster as dg

from resources.home import FolderRef, Home, read_settings
from resources.metadata import OWNERS
from resources.previews import preview
from resources.text import one_line
from resources.workspace import VistagResource
from vistag_assets.exports.follow import export_again, followed
from vistag_assets.exports.formats import FORMATS, Format
from vistag_assets.failures import told_first
from vistag_assets.partitions import PER_FOLDER, add_folders, range_tags

GROUP = "exports"
_SHOWN = 20


def asset_name(format_: Format) -> str:
    return f"export_{format_.name.replace('-', '_')}"


def _export(format_: Format) -> dg.AssetsDefinition:
    per_folder: dict[str, Any] = PER_FOLDER if format_.per_folder else {}

    @dg.asset(
        name=asset_name(format_),
        deps=["images", "tags", *format_.reads],
        description=f"{format_.about}. Carried: {format_.carried}. Lost: {format_.lost}.",
        group_name=GROUP,
        kinds={"python", "file"},
        owners=OWNERS,
        code_version=str(format_.version),
        **per_folder,
    )
    def export(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
        with told_first():
            workspace = vistag.open()
            every = _exported(workspace.home)
            chosen = set(context.partition_keys) if format_.per_folder else {folder.key for folder in every}
            folders = [folder for folder in every if folder.key in chosen]
            # where all are written, what was written of others goes
            done = export_again(workspace, format_, folders if len(folders) < len(every) else None)
        outcomes = [outcome for _, outcome in done]
        left = [line for outcome in outcomes for line in (*outcome.failed, *outcome.skipped)]
        for name, reason in left[:_SHOWN]:
            context.log.warning(one_line(f"not written: {name}: {reason}"))
        return dg.MaterializeResult(
            metadata={
                **({"path": dg.MetadataValue.path(done[0][0])} if done else {}),
                "files_written": sum(len(outcome.written) for outcome in outcomes),
                "files_unchanged": sum(outcome.unchanged for outcome in outcomes),
                "files_removed": sum(outcome.removed for outcome in outcomes),
                "not_written": len(left),
                **preview(["file", "reason"], left[:_SHOWN]).in_metadata(),
            }
        )

    return export


EXPORT_ASSETS = [_export(format_) for format_ in FORMATS.values()]


def asked_for(home: Home, instance: dg.DagsterInstance) -> tuple[list[dg.AssetKey], dict[str, str]] | None:
    """Assets and tags of a run that writes what a home follows; None where it follows nothing, or has no images."""
    formats, keys = followed(read_settings(home)), [folder.key for folder in _exported(home)]
    if not formats or not keys:
        return None
    assets = [dg.AssetKey(asset_name(format_)) for format_ in formats]
    if not any(format_.per_folder for format_ in formats):
        return assets, {}
    ordered = [key for key in add_folders(instance, keys) if key in set(keys)]
    return assets, range_tags(ordered[0], ordered[-1])


def _exported(home: Home) -> list[FolderRef]:
    return [ref for key in home.lake.folders("images") if not (ref := home.folder(key)).gone_since]
