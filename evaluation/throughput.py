"""How fast the stages worked, as Dagster's instance remembers it."""

import dagster as dg

from evaluation.figures import Throughput
from resources.tables import PER_FOLDER_TABLES, REJECTS

# Materialisations looked back through for the last that had something to do.
_LOOK_BACK = 200


def measured_throughput(instance: dg.DagsterInstance) -> dict[str, Throughput]:
    """Of each asset, the speed of the last run that had something to do."""
    speeds: dict[str, Throughput] = {}
    for asset in PER_FOLDER_TABLES:
        if asset == REJECTS.name:  # made with `images`
            continue
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=_LOOK_BACK).records
        for record in records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            if "images_per_second" in metadata and "device" in metadata:
                per_second = metadata["images_per_second"].value
                assert isinstance(per_second, float)
                speeds[asset] = Throughput(per_second, str(metadata["device"].value))
                break
    return speeds
