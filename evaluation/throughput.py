"""How fast the stages worked, as Dagster's instance remembers it."""

import dagster as dg

from evaluation.figures import Throughput
from resources.tables import PER_FOLDER_TABLES, REJECTS

# Materialisations looked back through for the last that had something to do.
_LOOK_BACK = 200


def measured_throughput(instance: dg.DagsterInstance) -> dict[str, Throughput]:
    """Of each asset, the speed of the last run that had something to do, over its folders."""
    speeds: dict[str, Throughput] = {}
    for asset in PER_FOLDER_TABLES:
        if asset == REJECTS.name:  # made with `images`
            continue
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=_LOOK_BACK).records
        last_run, images, seconds, device = None, 0.0, 0.0, ""
        for record in records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            if not {"images_per_second", "device"} <= metadata.keys():
                continue
            last_run = last_run or record.run_id
            if record.run_id != last_run:
                break
            worked_on = (
                float(str(metadata["images_worked_on"].value)) if "images_worked_on" in metadata else 1.0
            )
            images, device = images + worked_on, str(metadata["device"].value)
            seconds += worked_on / float(str(metadata["images_per_second"].value))
        if images:
            speeds[asset] = Throughput(round(images / seconds, 1), device)
    return speeds
