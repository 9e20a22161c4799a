"""One way to make an asset of one partition a folder: a function from a folder's tables to the rows that it wants.

The function names its inputs: each parameter after `folder` is a table of the lake, and the asset's lineage is just
these. `pa.Table | None` is a table that may not be there, `Annotated[pa.Table, "id", "path"]` one of which only some
columns are read. A table without partitions is read once a run. All else is done here, the same for every asset: the
loop over folders, batches, progress, counts, previews, a tier that names no model, speed and model in the metadata.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import dagster as dg
import pyarrow as pa
from PIL import Image

from resources.gpus import MODELS_POOL
from resources.home import Home, read_settings
from resources.images import open_proxy
from resources.lake import (
    Lake,
    UpdateStats,
    failed_ids,
    replace_rows,
    update_partition,
    with_empty_ids,
    with_failed_ids,
)
from resources.lake.ranges import EVERY_ID, IdRange, IdSet
from resources.metadata import OWNERS, column_schema, counted, made_by, row_count, update_counts
from resources.models.encoders import prefetch
from resources.models.tiers import Tier, load_tier
from resources.previews import NOTHING, Picture, Preview, preview, show, thumbnail
from resources.tables import PER_FOLDER_TABLES, TABLES, Table
from resources.text import one_line
from resources.workspace import VistagResource, Workspace
from vistag_assets.failures import told_first
from vistag_assets.isolation import Batch, isolated
from vistag_assets.lineage import column_by_id
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.rows import Rows, in_batches, in_batches_of_images, range_by_range

__all__ = [
    "Batch",
    "Folder",
    "FolderAsset",
    "Input",
    "Proxies",
    "Row",
    "Rows",
    "declared",
    "folder_asset",
    "in_batches",
    "in_batches_of_images",
    "update_table",
    "with_work",
]

T = TypeVar("T")
SHOWN_FAILURES = 20
Metadata = Mapping[str, Any]
Row = dict[str, Any]
Proxies = Annotated[pa.Table, "id", "path", "fingerprint"]
"""`proxies` as a stage that opens pictures reads it."""

_DECLARED: dict[str, "FolderAsset"] = {}


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that an asset works on."""

    workspace: Workspace
    key: str
    version: int
    """of the asset, for the fingerprints of its rows"""
    run: dict[Any, Any] = field(default_factory=dict)
    """what is made once a run, for all its folders"""
    ids: IdRange = EVERY_ID
    """the images of it that are worked on at a time"""

    @property
    def lake(self) -> Lake:
        return self.workspace.lake

    def once(self, make: Callable[..., T], *arguments: Any) -> T:
        """`make(*arguments)` for the first folder of a run, and the same thing for the others."""
        if make not in self.run:
            self.run[make] = make(*arguments)
        made: T = self.run[make]
        return made

    def opener(self, proxies: pa.Table | None = None) -> Callable[[str], Image.Image]:
        """Opens the working copy of an image by its id. `proxies` has the columns id and path."""
        rows = self.lake.read("proxies", self.key, ["id", "path"]) if proxies is None else proxies
        path_of = column_by_id(rows, "path")
        return lambda id_: open_proxy(self.workspace.home.root, path_of[id_])

    def first_ids(self) -> list[str]:
        """The images that previews show where they choose none."""
        ids: list[str] = (
            self.lake.read("proxies", self.key, ["id"])["id"].slice(0, PREVIEWED_IMAGES).to_pylist()
        )
        return ids

    def thumbnails(self, ids: Iterable[str] | None = None) -> dict[str, Picture]:
        """By id, images as small pictures of a preview; the first of the folder where none are named."""
        open_image = self.opener()
        return {id_: thumbnail(open_image(id_)) for id_ in (self.first_ids() if ids is None else ids)}

    def rows_of(
        self, table: str, ids: Iterable[str], columns: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of some images in a table, in their order there. Raises MissingPartition."""
        rows: list[dict[str, Any]] = self.lake.read(table, self.key, columns, IdSet(list(ids))).to_pylist()
        return rows


@dataclass(frozen=True, slots=True)
class Input:
    """A table that an asset is handed."""

    table: Table
    columns: tuple[str, ...] | None
    """None: all"""
    optional: bool

    @classmethod
    def of(cls, name: str, hint: Any) -> "Input":
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        optional = get_origin(hint) is not Annotated and len(kinds) < len(get_args(hint))
        kind = kinds[0] if optional else hint
        columns = get_args(kind)[1:] if get_origin(kind) is Annotated else None
        return cls(TABLES[name], columns, optional)

    def read(self, folder: Folder) -> pa.Table | None:
        """Raises MissingPartition where a table that is not optional was never made."""
        if not self.table.partitioned:
            return folder.once(self._read, folder.lake, None, EVERY_ID)
        return self._read(folder.lake, folder.key, folder.ids)

    def _read(self, lake: Lake, key: str | None, ids: IdRange) -> pa.Table | None:
        read = lake.read_or_none if self.optional else lake.read
        return read(self.table.name, key, self.columns, ids)


@dataclass(frozen=True)
class FolderAsset:
    """An asset as it was declared with `folder_asset`."""

    table: Table
    rows: Callable[..., Rows | pa.Table]
    title: str
    done: str
    version: int
    role: str | None
    needs: str | None
    preview: Callable[[Folder], Preview] | None
    counts: Callable[[Folder], Metadata] | None
    about: Callable[[Folder], Metadata] | None
    whole: Callable[[Folder, pa.Table], pa.Table] | None
    before: Callable[[Folder], None] | None
    after: Callable[[Folder], None] | None

    @cached_property
    def inputs(self) -> Mapping[str, Input]:
        hints = get_type_hints(self.rows, include_extras=True)
        tables = list(signature(self.rows).parameters)[1:]
        return {table: Input.of(table, hints[table]) for table in tables}

    def wanted(self, workspace: Workspace, key: str) -> dict[str, str]:
        """Image id -> the fingerprint of its rows by the tier and the lake as they are. Raises MissingPartition."""
        made = self._made(Folder(workspace, key, self.version))
        if isinstance(made, pa.Table):
            raise TypeError(f"{self.table.name} is made as a whole")
        return column_by_id(made.wanted, "fingerprint")

    def update(self, workspace: Workspace, key: str, meter: Meter | None = None) -> UpdateStats:
        """Bring one folder up to date with its inputs. Raises MissingPartition where one was never made."""
        if self.lacks_model(workspace.tier):
            return UpdateStats(0, 0, 0, 0)
        return self.update_folder(Folder(workspace, key, self.version), meter or Meter(self.title))

    def update_folder(self, folder: Folder, meter: Meter) -> UpdateStats:
        with meter.timed():
            made = self._made(folder)
            if isinstance(made, pa.Table):
                return replace_rows(folder.lake, self.table.name, folder.key, made)
        schema = self.table.sized(made.dimension) if made.dimension else self.table.schema
        stats = update_partition(
            folder.lake,
            self.table.name,
            folder.key,
            made.wanted,
            schema,
            lambda ids: _stamped(ids, made, schema, meter, lambda: self._halve_batches(folder.workspace)),
            on_progress=meter.folder(),
        )
        if self.after:
            self.after(folder)
        return stats

    def _made(self, folder: Folder) -> Rows | pa.Table:
        """What the function makes of the folder: of all its images at once, or of a range of them at a time."""
        if self.before:
            self.before(folder)
        ranges = folder.workspace.ranges_of(folder.key)

        def rows_of(ids: IdRange) -> Any:
            own = replace(folder, ids=ids)
            return self.rows(own, **{name: of.read(own) for name, of in self.inputs.items()})

        if self.whole:
            return self.whole(folder, pa.concat_tables(map(rows_of, ranges)))
        return rows_of(ranges[0]) if len(ranges) == 1 else range_by_range(ranges, rows_of)

    def lacks_model(self, tier: Tier) -> str | None:
        """Why there is nothing to do under a tier, None where there is: it names no model for the asset, or for a
        table that the asset needs.
        """
        if self.needs and getattr(tier, self.needs) is None:
            return _no_model(tier, self.needs)
        needed = (declared(name) for name, of in self.inputs.items() if not of.optional)
        return next((why for asset in needed if asset and (why := asset.lacks_model(tier))), None)

    def materialize(
        self, context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        """All folders of a run, and what Dagster shows of each and of the whole."""
        if why := self.lacks_model(workspace.tier):
            for key in context.partition_keys:
                # what another tier left: nothing is to take it for this one's
                workspace.lake.delete(self.table.name, key)
                show(workspace.home, self.table.name, key, NOTHING, context.run.run_id)
            return dg.MaterializeResult(metadata={"skipped": why, **row_count(0)})
        meter, run = Meter(self.title), dict[Any, Any]()
        folder = Folder(workspace, "", self.version, run)
        folders = [Folder(workspace, key, self.version, run) for key in context.partition_keys]
        for number, (folder, stats) in enumerate(self._updated(folders, meter)):
            key = folder.key
            rows = workspace.lake.read(self.table.name, key, [])
            metadata: dict[str, Any] = {
                **update_counts(stats, rows.num_rows),
                **meter.speed(stats.computed, self._device(workspace)),
            }
            if self.counts:
                metadata |= counted(self.counts(folder))
            if stats.failed:
                metadata |= _failures(context, folder, self.table.name, failed_ids(rows))
            if self.preview and number < PREVIEWED_FOLDERS:
                seen = self.preview(folder)
                metadata |= show(workspace.home, self.table.name, key, seen, context.run.run_id)
            context.add_asset_metadata(metadata, partition_key=key)
        about = {**self._model(workspace), **(self.about(folder) if self.about else {})}
        skipped = {"skipped": about.pop("skipped")} if "skipped" in about else {}
        made = made_by({"tier": workspace.tier.name, "taxonomy": workspace.taxonomy.fingerprint} | about)
        return dg.MaterializeResult(metadata={**made, **skipped})

    def _updated(self, folders: Sequence[Folder], meter: Meter) -> Iterator[tuple[Folder, UpdateStats]]:
        """Each folder, brought up to date. Where a server answers, the next one begins while it is at the last images of
        this one.
        """
        spec: Any = getattr(folders[0].workspace.tier, self.role) if self.role and folders else None
        if not getattr(spec, "is_served", False):
            yield from ((folder, self.update_folder(folder, meter)) for folder in folders)
            return
        watched = copy_context()  # of the progress bars: a thread would have none
        yield from prefetch(
            folders,
            lambda folder: watched.copy().run(self.update_folder, folder, meter),
            workers=spec.batches_at_once,
            depth=spec.batches_at_once,
        )

    def _halve_batches(self, workspace: Workspace) -> bool:
        return self.role is not None and workspace.halve_batches(self.role)

    def _device(self, workspace: Workspace) -> str:
        """Where the work of a folder was done."""
        named = self.role and getattr(workspace.tier, self.role)
        return str(getattr(getattr(workspace, self.role), "device", "cpu")) if self.role and named else "cpu"

    def _model(self, workspace: Workspace) -> Metadata:
        """The model of a run, or that the tier names none."""
        if self.role is None:
            return {}
        spec = getattr(workspace.tier, self.role)
        if spec is None:
            return {"skipped": _no_model(workspace.tier, self.role)}
        model = getattr(workspace, self.role)
        return {
            "model": getattr(spec, "name", spec.family),
            self.role: model.fingerprint,
            "licence": spec.licence,
            **({"dtype": spec.dtype} if hasattr(spec, "dtype") else {}),
            **({"dimension": model.dimension} if self.role == "encoder" else {}),
        }


def folder_asset(
    title: str,
    done: str = "",
    /,
    *,
    version: int,
    role: str | None = None,
    needs: str | None = None,
    kinds: Set[str] | None = None,
    preview: Callable[[Folder], Preview] | None = None,
    counts: Callable[[Folder], Metadata] | None = None,
    about: Callable[[Folder], Metadata] | None = None,
    whole: Callable[[Folder, pa.Table], pa.Table] | None = None,
    before: Callable[[Folder], None] | None = None,
    after: Callable[[Folder], None] | None = None,
) -> Callable[[Callable[..., Rows | pa.Table]], dg.AssetsDefinition]:
    """The asset of the table that the decorated function is named after.

    The function gets a `Folder` and its input tables, and returns the `Rows` of its images. Those of an image depend on
    that image alone: of a folder of many images the function is given the rows of a range of them at a time, and is called
    again for those of which something is missing.

    title: shown while it works. done: what an image is that its model was asked about (`captioned`). kinds: what it
    is made with, for Dagster's UI.
    version: to be raised when other rows would be made of the same inputs.
    role: names the tier's model that it asks. Where the tier names no model for `needs` (`role`, unless another is
    said) the asset is skipped, and rows that another tier left go.
    preview: pictures of the first images, for the first folders of a run. counts: more figures of a folder.
    about: more of what the run worked with, by its last folder.
    whole: where the rows of an image depend on all others, what makes the table of what the function says of each image,
    which is a `pa.Table` then.
    before: what is done once for a folder, however many times the function is called. after: what follows from a folder's
    rows, each time.
    """

    def declare(rows: Callable[..., Rows | pa.Table]) -> dg.AssetsDefinition:
        name = rows.__name__
        asset = FolderAsset(
            TABLES[name],
            rows,
            title,
            done,
            version,
            role,
            needs or role,
            preview,
            counts,
            about,
            whole,
            before,
            after,
        )
        _DECLARED[name] = asset

        @dg.asset(
            name=name,
            deps=list(asset.inputs),
            description=asset.table.about,
            metadata=column_schema(asset.table),
            group_name=asset.table.group,
            kinds={"parquet", *(kinds or {"pytorch" if role else "python"})},
            owners=OWNERS,
            code_version=str(version),
            pool=MODELS_POOL if role else None,
            **PER_FOLDER,
        )
        def made(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
            with told_first():
                return asset.materialize(context, vistag.open())

        return made

    return declare


def declared(table: str) -> FolderAsset | None:
    """The asset of a table, from the module that bears its name in the room of its group; None where another kind of
    asset makes the table.
    """
    module = f"vistag_assets.{TABLES[table].group}.{table}"
    if table not in _DECLARED and find_spec(module):
        import_module(module)
    return _DECLARED.get(table)


def update_table(table: str, workspace: Workspace, key: str) -> UpdateStats:
    """Bring one table of a folder up to date with its inputs, outside Dagster. Raises MissingPartition."""
    asset = declared(table)
    if asset is None:
        raise LookupError(f"{table} is not made by a folder_asset")
    return asset.update(workspace, key)


def with_work(home: Home, assets: Iterable[dg.AssetKey], keys: Collection[str]) -> list[dg.AssetKey]:
    """Those of `assets` that a run over these folders has something to do for: not where the tier of the home names no
    model, and no other tier left rows that would have to go. Such an asset adds two events a folder to Dagster's database.

    Raises SettingsError, TierError.
    """
    tier, lake = load_tier(read_settings(home).tier), home.lake
    declarations = [asset for table in PER_FOLDER_TABLES if (asset := declared(table))]
    lacking = [asset.table.name for asset in declarations if asset.lacks_model(tier)]
    idle = {table for table in lacking if set(lake.folders(table)).isdisjoint(keys)}
    return [asset for asset in assets if asset.to_user_string() not in idle]


def _no_model(tier: Tier, role: str) -> str:
    return f"The tier {tier.name} names no {role}: add `{role}:` to its YAML file to have this asset"


def _failures(
    context: dg.AssetExecutionContext, folder: Folder, table: str, failed: Mapping[str, str]
) -> Metadata:
    """The images of a folder that could not be computed, as a table to look at; they are in the log too."""
    path_of = column_by_id(folder.lake.read("images", folder.key, ["id", "path"]), "path")
    lines = [(path_of.get(id_, id_), reason) for id_, reason in failed.items()][:SHOWN_FAILURES]
    for path, reason in lines:
        context.log.warning(one_line(f"{table}: no answer for {path}: {reason}. The next run asks again."))
    return {"unanswered": preview(["image", "reason"], lines).in_metadata()["preview"]}


def _stamped(
    ids: list[str], made: Rows, schema: pa.Schema, meter: Meter, halve_batches: Callable[[], bool]
) -> Iterator[pa.Table]:
    """The batches of a stage as `update_partition` takes them: each row by what it was computed by."""
    stamp_of = column_by_id(made.wanted, "fingerprint")
    unstamped = pa.schema([column for column in schema if column.name != "fingerprint"])
    silent = [id_ for id_ in ids if id_ in made.without_rows]
    if silent:
        yield with_empty_ids(schema.empty_table(), {id_: stamp_of[id_] for id_ in silent})
    asked = [id_ for id_ in ids if id_ not in made.without_rows]
    if not asked:
        return
    if made.load:
        made.load()
    for batch in meter.timed_each(isolated(made.compute, asked, halve_batches)):
        rows = (
            batch.rows.select(unstamped.names).cast(unstamped)
            if isinstance(batch.rows, pa.Table)
            else pa.Table.from_pylist(list(batch.rows), unstamped)
        )
        names = rows["id"].to_pylist()
        stamped = rows.append_column(
            schema.field("fingerprint"), pa.array([stamp_of[id_] for id_ in names], pa.string())
        ).select(schema.names)
        empty = set(batch.ids).difference(names, batch.failed)
        yield with_failed_ids(
            with_empty_ids(stamped, {id_: stamp_of[id_] for id_ in sorted(empty)}), batch.failed
        )
