"""How fast the stages worked, as Dagster's instance remembers it."""

from collections.abc import Mapping
from typing import Any

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
            worked_on = _number(metadata, "computed", _number(metadata, "decoded", 1.0))
            images, device = images + worked_on, str(metadata["device"].value)
            speed = _number(metadata, "images_per_second", 0.0)  # rounded: 0.0 of who took minutes an image
            seconds += _number(metadata, "seconds", worked_on / speed if speed else 0.0)
        if images and seconds:
            speeds[asset] = Throughput(float(f"{images / seconds:.3g}"), device)
    return speeds


def _number(metadata: Mapping[str, dg.MetadataValue[Any]], name: str, otherwise: float) -> float:
    return float(str(metadata[name].value)) if name in metadata else otherwise
