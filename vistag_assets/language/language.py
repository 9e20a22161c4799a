"""What a vision-language model says of images and of their regions, and the checks beside it."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.checked import checked
from resources.gpus import MODELS_POOL
from resources.images import open_proxy
from resources.lake import UpdateStats, failed_ids
from resources.metadata import OWNERS, Preview, column_schema, preview, thumbnail, update_counts
from resources.models.vlms import VlmSpec
from resources.models.vlms.description import parse_description
from resources.models.vlms.tasks import Task
from resources.workspace import VistagResource, Workspace
from vistag_assets.language import stages
from vistag_assets.language.tables import CAPTIONS, DESCRIPTIONS, REGION_CAPTIONS
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.tierless import skipped

MIN_VALID_SHARE = 0.99
MAX_PROBLEM_SHARE = 0.05
SHOWN_FAILURES = 20


def _asset(group: str, schema: pa.Schema, version: int, **own: str) -> dict[str, Any]:
    return {
        "metadata": column_schema(schema, **own),
        "group_name": group,
        "kinds": {"parquet", "pytorch"},
        "owners": OWNERS,
        "code_version": str(version),
        "pool": MODELS_POOL,
        **PER_FOLDER,
    }


@dg.asset(
    deps=["proxies", "ocr_text"],
    description="One factual sentence an image, how sure the model was of it, and the keywords it names.",
    **_asset("whole_image", CAPTIONS, stages.CAPTION_VERSION),
)
def captions(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    return _run(context, vistag.open(), "captions", stages.caption_images, "Captioning images", ["caption"])


@dg.asset(
    deps=["proxies", "grounded_regions"],
    description="What the model calls each region, from a crop of it alone.",
    **_asset(
        "language", REGION_CAPTIONS, stages.REGION_CAPTION_VERSION, caption="what the model calls the crop"
    ),
)
def region_captions(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    shown = ["region_id", "caption"]
    return _run(
        context, vistag.open(), "region_captions", stages.caption_regions, "Captioning regions", shown
    )


@dg.asset(
    deps=["proxies", "grounded_regions", "region_masks", "ocr_text", "captions", "tag_scores", "routing"],
    description="A catalogue text an image whose claims cite regions, by the schema in resources/models/vlms.",
    **_asset("language", DESCRIPTIONS, stages.DESCRIPTION_VERSION, caption="of the lane that wrote the text"),
)
def descriptions(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    shown = ["title", "description", "lane"]
    return _run(context, vistag.open(), "descriptions", stages.describe_images, "Describing images", shown)


@dg.asset_check(
    asset="captions", description="Captions are one finished sentence that starts with what is seen."
)
def captions_are_one_sentence(vistag: VistagResource) -> dg.AssetCheckResult:
    problems = [row["problems"] for row in _all_rows(vistag.open(), "captions", ["problems"])]
    return checked(
        "captions",
        len(problems),
        sum(map(bool, problems)),
        right="are one finished sentence",
        fault="have problems (the column `problems` names them)",
        allowed_share=MAX_PROBLEM_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
    )


@dg.asset_check(
    asset="descriptions", description="Answers of the model fit the schema; all that is stored does."
)
def descriptions_fit_the_schema(vistag: VistagResource) -> dg.AssetCheckResult:
    rows = _all_rows(vistag.open(), "descriptions", ["valid", "json"])
    asked = [row["valid"] for row in rows if row["valid"] is not None]  # others were asked for no JSON
    valid = sum(asked)
    wrong = sum(row["json"] is not None and parse_description(row["json"]) is None for row in rows)
    stored = checked(
        "descriptions",
        len(rows),
        wrong,
        right="fit the schema",
        fault="do not fit the schema as they are stored",
    )
    answered = checked(
        "answers of the model",
        len(asked),
        len(asked) - valid,
        right="fit it before they were mended",
        fault="did not fit it before they were mended",
        allowed_share=1 - MIN_VALID_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
    )
    worse = answered if stored.passed else stored
    return worse._replace(description=f"{stored.description} {answered.description}")


@dg.asset_check(
    asset="descriptions",
    additional_deps=["grounded_regions"],
    description="Every region that a claim cites is one of its image.",
)
def descriptions_cite_their_own_regions(vistag: VistagResource) -> dg.AssetCheckResult:
    workspace = vistag.open()
    rows = _all_rows(workspace, "descriptions", ["id", "claims"])
    regions = _all_rows(workspace, "grounded_regions", ["id", "region_id"])
    own = {(row["id"], row["region_id"]) for row in regions}
    cited = [(row["id"], region) for row in rows for claim in row["claims"] for region in claim["region_ids"]]
    unknown = sum(pair not in own for pair in cited)
    return checked(
        "citations",
        len(cited),
        unknown,
        right="are of a region of their image",
        fault="are of no region of their image; run its folder again",
    )


def _all_rows(workspace: Workspace, table: str, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of all folders; none where a tier without such a model left no table."""
    rows: list[dict[str, Any]] = []
    if workspace.lake.folders(table):
        rows = workspace.lake.read_all(table, columns, skip_damaged=True).to_pylist()
    return rows


def _run(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    table: str,
    stage: Callable[[Workspace, str, Meter], UpdateStats],
    title: str,
    shown: list[str],
) -> dg.MaterializeResult[None]:
    """A stage over the folders of a run, with what Dagster shows of it."""
    if workspace.tier.vlm is None:
        return skipped(workspace.tier, "vlm")
    meter = Meter(title)
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stage(workspace, key, meter)
        computed += stats.computed
        rows = workspace.lake.read_or_none(table, key, ["id"])
        metadata: dict[str, Any] = update_counts(stats, rows.num_rows if rows else 0)
        if stats.failed:
            metadata["unanswered"] = _unanswered(context, workspace, table, key)["preview"]
        if number < PREVIEWED_FOLDERS:
            metadata |= _preview(workspace, table, key, shown)
        context.add_asset_metadata(metadata, partition_key=key)
    vlm = workspace.vlm
    served = {"server": vlm.spec.server.url} if vlm.spec.engine == "openai" else {}
    unasked = _unasked(vlm.spec, table)
    return dg.MaterializeResult(
        metadata=meter.speed(computed, vlm.device)
        | {
            "tier": workspace.tier.name,
            "model": vlm.spec.name,
            "engine": vlm.spec.engine,
            **served,
            "vlm": vlm.fingerprint,
            "dtype": vlm.spec.dtype,
            "beams": vlm.spec.beams,
            "licence": vlm.spec.licence,
        }
        | ({"skipped": unasked} if unasked else {})
    )


def _unanswered(context: dg.AssetExecutionContext, workspace: Workspace, table: str, key: str) -> Preview:
    """The images of a folder that the model gave no answer for; they are in the log too."""
    path_of = _paths(workspace, "images", key)
    failed = failed_ids(workspace.lake.read(table, key, ["id"]))
    lines = [(path_of.get(id_, id_), reason) for id_, reason in failed.items()]
    for path, reason in lines[:SHOWN_FAILURES]:
        context.log.warning(f"{table}: no answer for {path}: {reason}. The next run asks again.")
    return preview(["image", "reason"], lines[:SHOWN_FAILURES])


def _paths(workspace: Workspace, table: str, key: str) -> dict[str, str]:
    return {row["id"]: row["path"] for row in workspace.lake.read(table, key, ["id", "path"]).to_pylist()}


_UNASKED: dict[str, tuple[Task, str]] = {
    "captions": ("tags", "keywords are left out"),
    "region_captions": ("region", "regions have no captions"),
    "descriptions": ("description", "descriptions are made of the captions alone"),
}
"""By table: a task that a model may not be able to do, and what follows."""


def _unasked(spec: VlmSpec, table: str) -> str | None:
    """What was not asked of the fast lane's model and why; None where all was."""
    task, consequence = _UNASKED[table]
    if spec.question(task):
        return None
    return f"{spec.name} (family {spec.family}) has no way to ask for {task}: {consequence}. See docs/vlms.md"


def _preview(workspace: Workspace, table: str, key: str, shown: list[str]) -> Preview:
    rows = workspace.lake.read_or_none(table, key, ["id", *shown])
    path_of = _paths(workspace, "proxies", key)
    lines = [
        (thumbnail(open_proxy(workspace.home.root, path_of[row["id"]])), *(row[column] for column in shown))
        for row in (rows.slice(0, PREVIEWED_IMAGES).to_pylist() if rows else [])
    ]
    return preview(["image", *shown], lines)
