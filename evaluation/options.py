"""What each option of the ladder says about the evaluated images, read from the lake.

The lake holds what every stage found; an option is the final tags made of some of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evaluation import from_lake
from evaluation.figures import Throughput
from evaluation.ladder import OptionTables
from resources.lake import Lake
from resources.tiers import Option
from resources.workbench import Workbench
from vistag_assets.fused_tag_stages import fused_as

_REGIONS = """
select distinct on (id, region_id) id, region_id, concept_id, bbox, score
from grounded_regions semi join ground_truth_images using (id) order by id, region_id
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
PARTS: Mapping[Option, _Parts] = {
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
    for option, parts in PARTS.items():
        if not all(bench.lake.folders(table) for table in parts.tables):
            continue
        predictions = ranked_tags(bench, option)
        if predictions is not None:
            regions = found_regions(bench.lake) if parts.regions else None
            found.append(OptionTables(option, predictions, regions, _seconds(parts.stages, throughput)))
    return found


def ranked_tags(bench: Workbench, option: Option) -> pa.Table | None:
    """(id, concept_id, score) of the tags that an option would give of what is in the lake."""
    if option == bench.tier.option:
        return from_lake.final_tags(bench.lake)
    fused = fused_as(bench, option)
    pairs = fused.select(["id", "concept_id", "probability"]).rename_columns(["id", "concept_id", "score"])
    evaluated = bench.lake.read("ground_truth_images", columns=["id"])["id"].combine_chunks()
    known = pc.and_(pc.is_in(pairs["id"], evaluated), pc.is_valid(pairs["concept_id"]))
    return pairs.filter(known)


def found_regions(lake: Lake) -> pa.Table:
    """`grounded_regions` of the evaluated images, each region once, as `grounding.match_regions` takes them."""
    with lake.connect() as sql:
        return sql.sql(_REGIONS).to_arrow_table()


def _seconds(stages: Sequence[str], throughput: Mapping[str, Throughput]) -> float | None:
    speeds = [throughput[stage].images_per_second for stage in stages if stage in throughput]
    return sum(1 / speed for speed in speeds if speed) if speeds else None
