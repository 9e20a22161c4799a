"""`frequency_bands`: which tags are common and which are rare."""

import dagster as dg

from evaluation.assets.declaration import declared
from evaluation.metrics import bands
from resources.workspace import VistagResource
from vistag_assets.partitions import EVALUATION_POOL


@dg.asset(
    deps=["ground_truth", "ground_truth_concepts"],
    description="Tags by how many images carry them: head, body, tail, and those without support.",
    pool=EVALUATION_POOL,
    **declared(
        "duckdb",
        version="1",
        schema=bands.FREQUENCY_BANDS_SCHEMA,
        images="that carry the tag",
        rank="1 = on the most images, ties by concept_id",
    ),
)
def frequency_bands(vistag: VistagResource) -> dg.MaterializeResult[None]:
    lake = vistag.open().lake
    concepts = lake.read("ground_truth_concepts")["concept_id"].to_pylist()
    rows = bands.frequency_bands(lake.read("ground_truth"), concepts)
    lake.write("frequency_bands", rows)
    counts = rows["band"].to_pylist()
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows.num_rows}
        | {f"tags_{band}": counts.count(band) for band in (*bands.BANDS, bands.ZERO)}
    )
