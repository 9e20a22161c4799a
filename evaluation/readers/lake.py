"""The lake of vistag as predictions: its final tags, else its tag scores, and its regions, by file name."""

from pathlib import Path

import duckdb
import pyarrow as pa

from evaluation.readers.tables import (
    PREDICTED_BOXES,
    PREDICTED_TAGS,
    Origin,
    Predictions,
    Rows,
    UnusableFile,
    refuse,
)
from resources.home import Home
from resources.lake import Lake

# The same content may lie under several names, and in several folders.
_NAMES = """
create temp table names as
select distinct id, image from (
    select id, path as image from images union all select id, unnest(also_at) as image from images
)
"""
_AMBIGUOUS = "select image from names group by image having count(distinct id) > 1 order by image"
_TAGS = """
select row_number() over (order by image, concept_id) as row, image, concept_id, max(probability)::double as score
from {source} join names using (id) group by image, concept_id order by row
"""
_FINAL = "(from tags where concept_id is not null and state <> 'rejected')"
_BOXES = """
select row_number() over (order by image, region_id) as row, image, concept_id, score::double as score,
       bbox::double[] as bbox
from (select distinct on (id, region_id) * from grounded_regions where concept_id is not null)
join names using (id) order by row
"""


def recognises(path: Path, head: str) -> bool:
    return path.is_dir() and "images" in _lake(path).tables()


def read_predictions(path: Path) -> Predictions:
    """What a home, or the `lake` folder in it, says about its images; the names are relative to their library.

    Raises UnusableFile where nothing was tagged, or one name stands for different images.
    """
    lake = _lake(path)
    tables = lake.tables()
    if "images" not in tables or not {"tags", "tag_scores"} & set(tables):
        raise UnusableFile(f"{path}: holds no tags; give a home of vistag, or run vistag run FOLDER first")
    with lake.connect() as sql:
        sql.execute(_NAMES)
        ambiguous = [name for (name,) in sql.execute(_AMBIGUOUS).fetchall()]
        refuse(
            path,
            (
                f"images, path: {name!r} stands for different images in two libraries; evaluate a home that "
                "has one of them"
                for name in ambiguous
            ),
        )
        source = "tags" if "tags" in tables else "tag_scores"
        tags = _read(sql, _TAGS.format(source=_FINAL if source == "tags" else source), PREDICTED_TAGS)
        boxes = _read(sql, _BOXES, PREDICTED_BOXES) if "grounded_regions" in tables else None
    return Predictions(
        path,
        Rows(tags, _origin(path, source, "probability")),
        Rows(boxes, _origin(path, "grounded_regions", "score")) if boxes is not None else None,
        relative_boxes=True,
        other_images=True,
    )


def _lake(path: Path) -> Lake:
    inside = Home(path).lake
    return inside if inside.root.is_dir() else Lake(path, path.parent / "pending")


def _read(sql: duckdb.DuckDBPyConnection, query: str, schema: pa.Schema) -> pa.Table:
    return sql.sql(query).to_arrow_table().rename_columns(schema.names).cast(schema)


def _origin(path: Path, table: str, score: str) -> Origin:
    fields = {"image": "path", "concept": "concept_id", "score": score, "bbox": "bbox"}
    return Origin(path, f"{table}, row {{}}", fields)
