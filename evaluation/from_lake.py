"""Ground truth and predictions out of the lake, into the pure functions of `evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.calibration import Reliability, reliability
from evaluation.metrics.confusions import confusions
from evaluation.metrics.recall_at_k import HEADLINE_K, OVERALL, TagPairs, pair_up
from evaluation.readers.ground_truth import GroundTruth
from evaluation.readers.names import same_files
from resources.home import Home
from resources.lake import Lake, empty_ids
from resources.tables import GROUND_TRUTH_REGIONS
from taxonomy import Taxonomy
from vistag_assets.tags.fusion_fit import judged, truth_of

_NAMES = """
select id, path as file_name, width, height from images where list_contains($folders, folder)
union all
select id, unnest(also_at) as file_name, width, height from images where list_contains($folders, folder)
"""
# Files of one content are one image: the regions of the first name that has any are its regions.
_REGIONS = """
with found as (
    select *, names.width as lake_width, names.height as lake_height
    from (select distinct * from names) as names
    join (select * rename (width as mask_width, height as mask_height) from regions) using (file_name)
),
first_names as (select id, min(file_name) as file_name from found group by id)
select id, concept_id, instance_id,
       [bbox[1] / coalesce(image_width, lake_width), bbox[2] / coalesce(image_height, lake_height),
        bbox[3] / coalesce(image_width, lake_width), bbox[4] / coalesce(image_height, lake_height)] as bbox,
       mask_height as height, mask_width as width, counts
from found semi join first_names using (id, file_name)
order by id, concept_id, instance_id, bbox
"""

TRUTH_TABLES = ("ground_truth", "ground_truth_images", "ground_truth_concepts", "frequency_bands")
"""What `StoredTruth.read` reads."""


class EvaluationError(ValueError):
    """The ground truth and the lake do not fit together; the message says how."""


@dataclass(frozen=True, slots=True)
class TruthOrigin:
    """What a ground truth stands on; a note beside its rows."""

    of_keywords: bool = False
    """keywords of files: what they do not name is unknown"""


@dataclass(frozen=True, slots=True)
class StoredTruth:
    """The true tags in the lake."""

    tags: pa.Table  # id, concept_id: one row a true tag
    images: list[str]  # that are evaluated
    concepts: list[str]  # the evaluated vocabulary
    bands: pa.Table  # `frequency_bands`

    @classmethod
    def read(cls, lake: Lake) -> StoredTruth:
        """Raises MissingPartition."""
        tags, images, concepts, bands = map(lake.read, TRUTH_TABLES)
        return cls(tags, images["id"].to_pylist(), concepts["concept_id"].to_pylist(), bands)

    def pairs(self, scored: pa.Table, *, ranked_among: Sequence[str] = ()) -> TagPairs:
        """(id, concept_id, score) beside the truth, ranked among the evaluated concepts and those."""
        return pair_up(self.tags, scored, [*self.concepts, *ranked_among], self.images)

    @property
    def rare(self) -> pa.Table:
        """The rows of `bands` of the tail."""
        return self.bands.filter(pc.equal(self.bands["band"], RARE_BAND))


@dataclass(frozen=True, slots=True)
class MatchedTruth:
    """A ground truth by image ids. `images_not_in_lake` of its files are in no table and not evaluated."""

    images: pa.Table
    truth: pa.Table
    concepts: pa.Table
    regions: pa.Table
    """GROUND_TRUTH_REGIONS"""
    images_not_in_lake: int


def match_ground_truth(truth: GroundTruth, names: pa.Table) -> MatchedTruth:
    """Join a ground truth, by file name, with `names` (id, file_name, width, height in pixels).

    A file is known by its path, else by the end of it, else by its name without ending, where just one can be meant.
    Files of one content become one image, with the tags of all. Raises EvaluationError where no file matches.
    """
    truth = _by_names_of(truth, names["file_name"].to_pylist())
    with duckdb.connect() as sql:
        sql.register("annotated", truth.images)
        sql.register("true_tags", truth.truth)
        sql.register("names", names)
        sql.register("regions", truth.regions)
        regions = sql.sql(_REGIONS).to_arrow_table().cast(GROUND_TRUTH_REGIONS.schema)
        images = sql.sql("select distinct id from annotated join names using (file_name) order by id")
        tags = sql.sql(
            "select distinct id, concept_id from true_tags join names using (file_name) order by all"
        )
        [(missing,)] = sql.sql("from annotated anti join names using (file_name) select count(*)").fetchall()
        matched = MatchedTruth(
            images.to_arrow_table(), tags.to_arrow_table(), truth.concepts, regions, missing
        )
    if matched.images.num_rows == 0:
        shown = ", ".join(truth.images["file_name"].slice(0, 3).to_pylist())
        raise EvaluationError(
            f"None of the {truth.images.num_rows} images of the ground truth (such as {shown}) is in the "
            "lake. Its file names must be relative to the folder that was given to vistag run."
        )
    return matched


def _by_names_of(truth: GroundTruth, known: list[str]) -> GroundTruth:
    strange = sorted(set(truth.images["file_name"].to_pylist()) - set(known))
    found = same_files(strange, known) if strange else {}
    if not found:
        return truth

    def renamed(table: pa.Table) -> pa.Table:
        names = [found.get(name, name) for name in table["file_name"].to_pylist()]
        column = table.column_names.index("file_name")
        return table.set_column(column, table.schema.field("file_name"), pa.array(names, pa.string()))

    return replace(
        truth, images=renamed(truth.images), truth=renamed(truth.truth), regions=renamed(truth.regions)
    )


def image_names(home: Home, library: str | None) -> pa.Table:
    """(id, file_name, width, height) of every name of every image, of one library or of all."""
    folders = [folder.key for folder in home.folders() if library in (None, folder.library)]
    with home.lake.connect() as sql:
        return sql.sql(_NAMES, params={"folders": folders}).to_arrow_table()


def embedding_scores(lake: Lake) -> pa.Table:
    """(id, concept_id, score) of `tag_scores` for the images of the ground truth; probability is what ranks."""
    return _ranked(lake, "from tag_scores")


def final_tags(lake: Lake) -> pa.Table | None:
    """(id, concept_id, score) of `tags` for the images of the ground truth; None where there is no such table.

    What a person rejected is no prediction, and neither is a phrase outside the vocabulary.
    """
    if not lake.folders("tags"):
        return None
    require_answers(lake, "tags", "final tags")
    return _ranked(lake, "from tags where concept_id is not null and state <> 'rejected'")


def require_answers(lake: Lake, table: str, what: str) -> None:
    """Raises EvaluationError unless every image of the ground truth was looked at by the stage of `table`."""
    answered: set[str] = set()
    for folder in lake.folders(table):
        rows = lake.read(table, folder, ["id"])
        answered |= {*rows["id"].to_pylist(), *empty_ids(rows)}
    images = lake.read("ground_truth_images")["id"].to_pylist()
    missing = len(set(images) - answered)
    if missing:
        raise EvaluationError(
            f"{missing} of the {len(images)} images of the ground truth have no {what} yet. "
            f"Materialise {table} for their folders, then evaluate."
        )


def tail_confusions(taxonomy: Taxonomy, truth: StoredTruth, scored: pa.Table) -> pa.Table:
    """`tag_confusions` of the tail tags, among the evaluated concepts."""
    facets = {
        "concept_id": [concept.id for concept in taxonomy.concepts],
        "facet": [concept.facet for concept in taxonomy.concepts],
    }
    rare, broader = truth.rare["concept_id"].to_pylist(), taxonomy.broader_pairs()
    return confusions(truth.tags, scored, truth.concepts, rare, pa.table(facets), broader, HEADLINE_K)


def calibration(taxonomy: Taxonomy, truth: StoredTruth, scored: pa.Table) -> dict[str, Reliability]:
    """Reliability of the probabilities of the evaluated concepts, over all and over those of the tail.

    A broader concept of a true tag is neither true nor false here: the ground truth names the narrowest one.
    """
    rows = judged(_among(scored, truth.bands), truth.tags, taxonomy.broader_pairs())
    found = {
        name: reliability(
            group["score"].to_numpy(),
            truth_of(group, truth.tags),
            group["id"].combine_chunks().dictionary_encode().indices.to_numpy(),
        )
        for name, group in ((OVERALL, rows), (RARE_BAND, _among(rows, truth.rare)))
    }
    return {name: bins for name, bins in found.items() if bins}


def _among(rows: pa.Table, concepts: pa.Table) -> pa.Table:
    return rows.filter(pc.is_in(rows["concept_id"], value_set=concepts["concept_id"].combine_chunks()))


def _ranked(lake: Lake, source: str) -> pa.Table:
    with lake.connect() as sql:
        # the same content in two folders has rows in both
        return sql.sql(
            f"select id, concept_id, max(probability)::double as score from (select * {source}) "
            "semi join ground_truth_images using (id) group by id, concept_id order by all"
        ).to_arrow_table()
