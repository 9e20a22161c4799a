"""What each option of the ladder says about the evaluated images, read from the lake.

The lake holds what every stage found; an option is the final tags made of some of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from evaluation.figures import Throughput
from evaluation.metrics.ablation import OptionTables
from resources.lake import Lake
from resources.models.tiers import Option
from resources.workspace import Workspace
from vistag_assets.tags.evidence import TABLES_OF, Source
from vistag_assets.tags.tagger import SOURCES_OF_OPTION, fused_as, sources_of

_REGIONS = """
select distinct on (id, region_id) id, region_id, concept_id, bbox, score
from grounded_regions semi join ground_truth_images using (id) order by id, region_id
"""


_FUSED = """
select id, concept_id, max(probability)::double as score
from fused semi join ground_truth_images using (id) where concept_id is not null group by all order by all
"""


@dataclass(frozen=True, slots=True)
class _Parts:
    stages: tuple[str, ...]
    """assets whose time an image costs; a stage without a measured speed adds nothing"""
    regions: bool = False


_FAST = ("proxies", "captions")
_EMBEDDINGS = ("global_embeddings", "tag_scores")
_GROUNDING = ("candidates", "grounded_regions", "region_embeddings", "region_matches")
_HEAVY = ("ocr_text", "routing", "descriptions")
PARTS: Mapping[Option, _Parts] = {
    "A1": _Parts(_FAST),
    "A2": _Parts((*_FAST, *_EMBEDDINGS)),
    "A3": _Parts((*_FAST, *_EMBEDDINGS, *_GROUNDING), regions=True),
    "B2": _Parts((*_FAST, *_EMBEDDINGS, *_HEAVY)),
    "B3": _Parts(
        (*_FAST, *_EMBEDDINGS, *_GROUNDING, "region_masks", "region_captions", *_HEAVY, "tags"),
        regions=True,
    ),
}


def option_tables(workspace: Workspace, throughput: Mapping[str, Throughput]) -> Sequence[OptionTables]:
    """The options that the tier has the models for and the lake the tables, in the order of the ladder.

    Text is read where there is an OCR engine; no option is without it for want of one.
    """
    found = []
    regions, ranked = None, dict[frozenset[Source], pa.Table]()
    for option, parts in PARTS.items():
        heard = sources_of(workspace.tier, option)
        tables = [table for source in heard for table in TABLES_OF[source]]
        able = SOURCES_OF_OPTION[option] - {"ocr"} <= heard
        if not able or not all(workspace.lake.folders(table) for table in tables):
            continue
        if parts.regions and regions is None:
            regions = found_regions(workspace.lake)
        if heard not in ranked:
            ranked[heard] = ranked_tags(workspace, option)
        seconds = _seconds(parts.stages, throughput)
        found.append(OptionTables(option, ranked[heard], regions if parts.regions else None, seconds))
    return found


def ranked_tags(workspace: Workspace, option: Option) -> pa.Table:
    """(id, concept_id, score) of the tags that an option would give of what is in the lake."""
    fused = fused_as(workspace, option)
    with workspace.lake.connect() as sql:
        sql.register("fused", fused)
        return sql.sql(_FUSED).to_arrow_table()


def found_regions(lake: Lake) -> pa.Table:
    """`grounded_regions` of the evaluated images, each region once, as `grounding.match_regions` takes them."""
    with lake.connect() as sql:
        return sql.sql(_REGIONS).to_arrow_table()


def _seconds(stages: Sequence[str], throughput: Mapping[str, Throughput]) -> float | None:
    speeds = [throughput[stage].images_per_second for stage in stages if stage in throughput]
    return sum(1 / speed for speed in speeds if speed) if speeds else None
