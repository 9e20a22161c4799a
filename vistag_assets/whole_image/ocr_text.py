"""From proxies to the text that can be read in them, and the check beside it."""

import dagster as dg
import pyarrow.compute as pc

from resources.checked import checked
from resources.gpus import MODELS_POOL
from resources.images import open_proxy
from resources.metadata import OWNERS, Preview, column_schema, preview, thumbnail, update_counts
from resources.workspace import VistagResource, Workspace
from vistag_assets.lineage import column_by_id
from vistag_assets.partitions import PER_FOLDER, PREVIEWED_FOLDERS, PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.tierless import skipped
from vistag_assets.whole_image import reading_stages as stages


@dg.asset(
    deps=["proxies"],
    description="The lines of text in each image, in reading order. Nothing where the tier names no OCR.",
    metadata=column_schema(stages.OCR_TEXT),
    group_name="whole_image",
    kinds={"parquet", "onnx"},
    owners=OWNERS,
    code_version=str(stages.OCR_VERSION),
    pool=MODELS_POOL,
    **PER_FOLDER,
)
def ocr_text(context: dg.AssetExecutionContext, vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    meter = Meter("Reading text")
    computed = 0
    for number, key in enumerate(context.partition_keys):
        stats = stages.read_text(workspace, key, meter)
        if stats is None:
            continue
        computed += stats.computed
        rows = workspace.lake.read("ocr_text", key, ["id"])
        context.add_asset_metadata(
            {
                **update_counts(stats, rows.num_rows),
                "images_with_text": pc.count_distinct(rows["id"]).as_py(),
                **(_preview(workspace, key) if number < PREVIEWED_FOLDERS else {}),
            },
            partition_key=key,
        )
    if workspace.tier.ocr is None:
        return skipped(workspace.tier, "ocr")
    return dg.MaterializeResult(
        metadata=meter.speed(computed, "cpu")
        | {
            "tier": workspace.tier.name,
            "engine": workspace.tier.ocr.family,
            "fingerprint": workspace.ocr.fingerprint,
            "licence": workspace.tier.ocr.licence,
        }
    )


@dg.asset_check(asset="ocr_text", description="Confidences and boxes lie within 0..1.")
def text_lines_are_within_bounds(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    lines = wrong = 0
    if lake.folders("ocr_text"):
        with lake.connect(skip_damaged=True) as sql:
            [(lines, wrong)] = sql.execute(
                "select count(*), count(*) filter (not (confidence between 0 and 1 and bbox[1] between 0 and 1 "
                "and bbox[2] between 0 and 1 and bbox[1] + bbox[3] <= 1.0001 and bbox[2] + bbox[4] <= 1.0001)) "
                "from ocr_text"
            ).fetchall()
    return checked(
        "lines of text",
        lines,
        wrong,
        right="have a confidence and a box within 0..1",
        fault="have a confidence or a box outside 0..1",
    )


def _preview(workspace: Workspace, key: str) -> Preview:
    """The first images that have text."""
    path_of = column_by_id(workspace.lake.read("proxies", key, ["id", "path"]), "path")
    texts: dict[str, list[str]] = {}
    for row in workspace.lake.read("ocr_text", key, ["id", "text", "confidence"]).to_pylist():
        texts.setdefault(row["id"], []).append(f"{row['text']} ({row['confidence']:.2f})")
    rows = [
        (thumbnail(open_proxy(workspace.home.root, path_of[id_])), "; ".join(lines))
        for id_, lines in list(texts.items())[:PREVIEWED_IMAGES]
    ]
    return preview(["image", "text"], rows)
