"""The lane of each image, fast or heavy, with the reasons and within the tier's budget."""

from dataclasses import asdict
from typing import Annotated, Any

import dagster as dg
import pyarrow as pa

from resources.checked import checked
from resources.fingerprint import fingerprint
from resources.previews import Preview, preview
from resources.tables import ROUTING
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, folder_asset
from vistag_assets.language.lanes import (
    ROUTED_OPTIONS,
    WEIGHTS,
    Route,
    assign,
    gather_signals,
    heavy_places,
    weigh,
)
from vistag_assets.partitions import PREVIEWED_IMAGES

_WEIGHED = pa.schema([field for field in ROUTING.schema if field.name != "fingerprint"])


def _most_urgent(folder: Folder) -> Preview:
    """The images that ask for the heavy lane most."""
    rows = folder.lake.read("routing", folder.key).sort_by([("priority", "descending"), ("id", "ascending")])
    first = rows.slice(0, PREVIEWED_IMAGES).to_pylist()
    pictures = folder.thumbnails([row["id"] for row in first])
    shown = [
        (pictures[row["id"]], row["lane"], ", ".join(row["reasons"]), f"{row['priority']:.2f}")
        for row in first
    ]
    return preview(["image", "lane", "reasons", "priority"], shown)


def _counts(folder: Folder) -> dict[str, int]:
    rows = folder.lake.read("routing", folder.key, ["lane", "reasons"]).to_pylist()
    reasons = [reason for row in rows for reason in row["reasons"]]
    return {
        "heavy": sum(row["lane"] == "heavy" for row in rows),
        **{f"reason_{reason}": reasons.count(reason) for reason in WEIGHTS},
    }


def _about(folder: Folder) -> dict[str, Any]:
    tier = folder.workspace.tier
    return {"option": tier.option, "budget": tier.routing.budget}


def _lanes(folder: Folder, weighed: pa.Table) -> pa.Table:
    """A budget makes the lane of an image depend on all images of its folder."""
    tier = folder.workspace.tier
    images = [
        Route(row["id"], row["lane"], tuple(row["reasons"]), row["priority"]) for row in weighed.to_pylist()
    ]
    routed = assign(images, tier.routing, tier.option)
    by = {lane: fingerprint(lane=lane, version=folder.version) for lane in ("fast", "heavy")}
    rows = [asdict(image) | {"fingerprint": by[image.lane]} for image in routed]
    return pa.Table.from_pylist(rows, ROUTING.schema)


@folder_asset("Routing", version=1, preview=_most_urgent, counts=_counts, about=_about, whole=_lanes)
def routing(
    folder: Folder,
    proxies: Annotated[pa.Table, "id"],
    tag_scores: Annotated[pa.Table, "id", "probability", "inherited_from"] | None,
    captions: Annotated[pa.Table, "id", "caption", "entropy"] | None,
    ocr_text: Annotated[pa.Table, "id", "text", "confidence"] | None,
) -> pa.Table:
    """No model is needed, so the whole folder is routed anew each time, and written where something changed. The
    fingerprint of a row is that of the decision alone; what is made of it (a description) is computed again when an
    image changes its lane, and not because another image came or went.
    """
    spec = folder.workspace.tier.routing
    signals = gather_signals(proxies["id"].to_pylist(), tag_scores, captions, ocr_text, spec)
    return pa.Table.from_pylist([asdict(weigh(image, spec)) for image in signals], _WEIGHED)


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
