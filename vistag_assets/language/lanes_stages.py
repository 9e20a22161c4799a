"""The lanes of one folder."""

from __future__ import annotations

import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.lake import UpdateStats, read_stored
from resources.workspace import Workspace
from vistag_assets.language.lanes import gather_signals, route
from vistag_assets.lineage import column_by_id

# To be raised when the same lane would mean something else.
ROUTING_VERSION = 1

ROUTING = pa.schema(
    [
        ("id", pa.string()),
        ("lane", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("priority", pa.float32()),
        ("fingerprint", pa.string()),
    ]
)


def route_images(workspace: Workspace, key: str) -> UpdateStats:
    """Bring `routing` of a folder up to date.

    A budget makes the lane of an image depend on all images of its folder, and no model is needed: so the
    whole folder is routed anew each time, and written where something changed. The fingerprint of a row is
    that of the decision alone; what is made of it (a description) is computed again when an image changes
    its lane, and not because another image came or went.
    """
    lake, tier = workspace.lake, workspace.tier
    images = lake.read("proxies", key, ["id"])["id"].to_pylist()
    signals = gather_signals(
        images,
        lake.read_or_none("tag_scores", key, ["id", "probability", "inherited_from"]),
        lake.read_or_none("captions", key, ["id", "caption", "entropy"]),
        lake.read_or_none("ocr_text", key, ["id", "text", "confidence"]),
        tier.routing,
    )
    rows = pa.Table.from_pylist(
        [
            {
                "id": routed.id,
                "lane": routed.lane,
                "reasons": routed.reasons,
                "priority": routed.priority,
                "fingerprint": fingerprint(lane=routed.lane, version=ROUTING_VERSION),
            }
            for routed in route(signals, tier.routing, tier.option)
        ],
        ROUTING,
    )
    with lake.locked("routing", key):
        found = read_stored(lake, "routing", key, ROUTING)
        if found.rows is None or not found.rows.equals(rows):
            lake.replace("routing", rows, key)
    before = column_by_id(found.rows, "fingerprint") if found.rows is not None else {}
    now = column_by_id(rows, "fingerprint")
    kept = len(before.items() & now.items())
    return UpdateStats(
        kept=kept,
        computed=len(now) - kept,
        dropped=len(before.keys() - now.keys()),
        resumed=0,
        quarantined=found.quarantined,
    )
