"""What each option of the ladder says about the evaluated images, read from the lake.

The lake holds what every stage found; an option is the final tags made of some of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from evaluation import from_lake
from evaluation.figures import Throughput
from evaluation.ladder import OPTIONS, OptionTables
from resources.lake import Lake
from resources.workbench import Workbench

_REGIONS = """
select distinct on (id, region_id) id, region_id, concept_id, bbox, score
from grounded_regions semi join ground_truth_images using (id) order by id, region_id
"""
_KEYWORDS = """
select id, keyword.concept_id as concept_id, max(keyword.logprob)::double as score
from (select id, unnest(keywords) as keyword from captions) semi join ground_truth_images using (id)
where keyword.concept_id is not null and keyword.logprob is not null
group by all order by all
"""


@dataclass(frozen=True, slots=True)
class _Parts:
    tables: tuple[str, ...]
    """of the lake, without which the option cannot be had"""
    stages: tuple[str, ...]
    """assets whose time an image costs; a stage without a measured speed adds nothing"""
    regions: bool = False


_FAST = ("proxies", "captions")
_EMBEDDINGS = ("global_embeddings", "tag_scores")
_GROUNDING = ("candidates", "grounded_regions", "region_embeddings", "region_matches")
_HEAVY = ("ocr_text", "routing", "descriptions")
PARTS: Mapping[str, _Parts] = {
    "A1": _Parts(("captions",), _FAST),
    "A2": _Parts(("tag_scores",), (*_FAST, *_EMBEDDINGS)),
    "A3": _Parts(("tag_scores", "grounded_regions"), (*_FAST, *_EMBEDDINGS, *_GROUNDING), regions=True),
    "B2": _Parts(("tag_scores", "routing"), (*_FAST, *_EMBEDDINGS, *_HEAVY)),
    "B3": _Parts(
        ("tags", "grounded_regions"),
        (*_FAST, *_EMBEDDINGS, *_GROUNDING, "region_masks", "region_captions", *_HEAVY, "tags"),
        regions=True,
    ),
}


def option_tables(bench: Workbench, throughput: Mapping[str, Throughput]) -> Sequence[OptionTables]:
    """The options that the lake has everything for, in the order of the ladder."""
    found = []
    for option in OPTIONS:
        parts = PARTS[option]
        if not all(bench.lake.folders(table) for table in parts.tables):
            continue
        predictions = ranked_tags(bench, option)
        if predictions is not None:
            regions = found_regions(bench.lake) if parts.regions else None
            found.append(OptionTables(option, predictions, regions, _seconds(parts.stages, throughput)))
    return found


def ranked_tags(bench: Workbench, option: str) -> pa.Table | None:
    """(id, concept_id, score) of the tags that an option would give; None where nothing can say it.

    The fusion of a subset of sources belongs here, and nowhere else.
    """
    if option == "A1":
        return _keywords(bench.lake)
    if option == "A2":
        return from_lake.embedding_scores(bench.lake)
    if option == "B3" and bench.tier.option == "B3":
        return from_lake.final_tags(bench.lake)
    return None


def found_regions(lake: Lake) -> pa.Table:
    """`grounded_regions` of the evaluated images, each region once, as `grounding.match_regions` takes them."""
    with lake.connect() as sql:
        return sql.sql(_REGIONS).to_arrow_table()


def _keywords(lake: Lake) -> pa.Table:
    with lake.connect() as sql:
        return sql.sql(_KEYWORDS).to_arrow_table()


def _seconds(stages: Sequence[str], throughput: Mapping[str, Throughput]) -> float | None:
    speeds = [throughput[stage].images_per_second for stage in stages if stage in throughput]
    return sum(1 / speed for speed in speeds if speed) if speeds else None
