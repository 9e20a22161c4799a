"""`frequency_bands`: which tags are common and which are rare."""

from evaluation.assets.declaration import Made, evaluation_asset
from evaluation.metrics import bands
from resources.workspace import Workspace


@evaluation_asset(
    "frequency_bands", reads=["ground_truth", "ground_truth_concepts"], version=1, kinds={"duckdb"}
)
def frequency_bands(workspace: Workspace) -> Made:
    truth, concepts = map(workspace.lake.read, ("ground_truth", "ground_truth_concepts"))
    rows = bands.frequency_bands(truth, concepts["concept_id"].to_pylist())
    counts = rows["band"].to_pylist()
    return Made(
        {"frequency_bands": rows},
        {f"tags_{band}": counts.count(band) for band in (*bands.BANDS, bands.ZERO)},
    )
