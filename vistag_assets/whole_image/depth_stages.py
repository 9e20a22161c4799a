"""What is estimated of the depth in the pictures of one folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pyarrow as pa

from resources.images import open_proxy
from resources.lake import UpdateStats, update_partition
from resources.models.depth.maps import bounded, encode_depth
from resources.models.encoders import prefetch
from resources.workspace import Workspace
from vistag_assets.lineage import column_by_id, derived
from vistag_assets.progress import Meter

# To be raised when the stage would compute other rows from the same inputs.
DEPTH_VERSION = 1

DEPTH_MAPS = pa.schema(
    [
        ("id", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("depth", pa.binary()),
        ("depth_min", pa.float32()),
        ("depth_max", pa.float32()),
        ("unit", pa.string()),
        ("fingerprint", pa.string()),
    ]
)
_BATCHES_AT_ONCE = 4
"""So that images of one shape, which alone can share a batch, come together."""


def estimate_depth(workspace: Workspace, key: str, meter: Meter) -> UpdateStats | None:
    """Bring `depth_maps` of a folder up to date with its proxies.

    None where the tier names no estimator: rows that another tier left are removed.
    """
    spec = workspace.tier.depth
    if spec is None:
        workspace.lake.delete("depth_maps", key)
        return None
    estimator, home_root = workspace.depth, workspace.home.root
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    path_of = column_by_id(proxies, "path")
    wanted = derived(
        proxies, estimator=estimator.fingerprint, max_side_px=spec.max_side_px, version=DEPTH_VERSION
    )
    wanted_fingerprint = column_by_id(wanted, "fingerprint")
    together = _BATCHES_AT_ONCE * spec.batch_size

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        estimator.load()
        opened = prefetch(ids, lambda id_: open_proxy(home_root, path_of[id_]), workers=2, depth=together)
        while batch := list(islice(opened, together)):
            with meter.timed():
                found = estimator.estimate([image for _, image in batch])
            rows = []
            for (id_, _), one in zip(batch, found, strict=True):
                depth = bounded(one.depth, spec.max_side_px)
                stored = encode_depth(depth)
                rows.append(
                    {
                        "id": id_,
                        "height": depth.shape[0],
                        "width": depth.shape[1],
                        "depth": stored.png,
                        "depth_min": stored.depth_min,
                        "depth_max": stored.depth_max,
                        "unit": one.unit,
                        "fingerprint": wanted_fingerprint[id_],
                    }
                )
            yield pa.Table.from_pylist(rows, DEPTH_MAPS)

    return update_partition(
        workspace.lake, "depth_maps", key, wanted, DEPTH_MAPS, compute, on_progress=meter.folder()
    )
