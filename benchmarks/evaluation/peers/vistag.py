"""Ours: head, body, tail, rare, common, frequent; recall and precision at all IoUs."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.evaluation import RESULTS, TRUTH
from benchmarks.evaluation.peers.mean_recall import Recall
from evaluation.metrics.bands import LVIS_BANDS, frequency_bands
from evaluation.metrics.grounding import GroundingEvaluation, grounding_recall
from evaluation.metrics.matching import match_regions
from evaluation.metrics.recall_at_k import OVERALL

# The peers do not check what they read; nor is it checked here, as `evaluation.readers` does.
_RESULTS_SQL = """
select image_id::varchar as id, (row_number() over ())::varchar as region_id, category_id::varchar as concept_id,
       bbox, score
from read_json($path, format = 'array',
               columns = {image_id: 'BIGINT', category_id: 'BIGINT', bbox: 'DOUBLE[]', score: 'DOUBLE'})
"""
_PAIRS = pa.schema([("id", pa.string()), ("concept_id", pa.string())])

Tables = dict[str, pa.Table]


def load(folder: Path) -> tuple[Tables, list[str]]:
    given = json.loads((folder / TRUTH).read_bytes())
    annotations = given["annotations"]
    truth = pa.table(
        {
            "id": pa.array([a["image_id"] for a in annotations]).cast(pa.string()),
            "concept_id": pa.array([a["category_id"] for a in annotations]).cast(pa.string()),
            "bbox": pa.array([a["bbox"] for a in annotations], pa.list_(pa.float64(), 4)),
        }
    )
    with duckdb.connect() as sql:
        regions = sql.sql(_RESULTS_SQL, params={"path": str(folder / RESULTS)}).to_arrow_table()
    tables = {
        "truth": truth,
        "regions": regions,
        "negatives": _pairs(given, "neg_category_ids"),
        "not_exhaustive": _pairs(given, "not_exhaustive_category_ids"),
    }
    return tables, [str(category["id"]) for category in given["categories"]]


def evaluate(loaded: tuple[Tables, list[str]]) -> GroundingEvaluation:
    tables, concepts = loaded
    bands = frequency_bands(tables["truth"], concepts)
    return grounding_recall(match_regions(**tables), bands)


def recall(evaluation: GroundingEvaluation) -> Recall:
    named = {OVERALL: "", **{band: f"{band} " for band in LVIS_BANDS}}
    return {named[f.band] + f.iou: f.macro for f in evaluation.recall if f.band in named}


def _pairs(given: dict[str, list[dict[str, list[int]]]], field: str) -> pa.Table:
    rows = [{"id": str(image["id"]), "concept_id": str(c)} for image in given["images"] for c in image[field]]
    return pa.Table.from_pylist(rows, _PAIRS)
