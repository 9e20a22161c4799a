"""What each option of the ladder says about the evaluated images, read from the lake.

The lake holds what every stage found; an option is the final tags made of some of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from evaluation.figures import Throughput
from evaluation.metrics.ablation import OptionTables
from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.grounding import HEADLINE_IOU
from evaluation.metrics.recall_at_k import OVERALL
from resources.lake import Lake
from resources.models.tiers import Option
from resources.workspace import Workspace
from vistag_assets.tags.evidence import TABLES_OF, Source
from vistag_assets.tags.fusion import fuse, load_fusion
from vistag_assets.tags.tagger import SOURCES_OF_OPTION, evidence_in, sources_of

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
_TAGGER = ("tagger_scores",)
_GROUNDING = ("candidates", "grounded_regions", "region_embeddings", "region_matches")
_HEAVY = ("ocr_text", "routing", "descriptions")
PARTS: Mapping[Option, _Parts] = {
    "A1": _Parts(_FAST),
    "A2": _Parts((*_FAST, *_EMBEDDINGS)),
    "A2T": _Parts((*_FAST, *_EMBEDDINGS, *_TAGGER)),
    "A3": _Parts((*_FAST, *_EMBEDDINGS, *_TAGGER, *_GROUNDING), regions=True),
    "B2": _Parts((*_FAST, *_EMBEDDINGS, *_HEAVY)),
    "B3": _Parts(
        (*_FAST, *_EMBEDDINGS, *_TAGGER, *_GROUNDING, "region_masks", "region_captions", *_HEAVY, "tags"),
        regions=True,
    ),
}


def option_tables(workspace: Workspace, throughput: Mapping[str, Throughput]) -> list[OptionTables]:
    """The options that the tier has the models for and the lake the tables, in the order of the ladder.

    Text is read where there is an OCR engine, and a tagger heard where there is one: but for A2T, which is the tagger's
    own row, no option is missing for want of one.
    """
    sources = {option: sources_of(workspace.tier, option) for option in PARTS}
    able = [
        option
        for option in PARTS
        if SOURCES_OF_OPTION[option] - ({"ocr"} if option == "A2T" else {"ocr", "tagger"}) <= sources[option]
        and all(workspace.lake.folders(table) for source in sources[option] for table in TABLES_OF[source])
    ]
    ranked = _ranked_tags(workspace, {sources[option] for option in able})
    grounding = _grounding_recall(workspace.lake)
    return [
        OptionTables(
            option,
            ranked[sources[option]],
            grounding if PARTS[option].regions else {},
            seconds_of(PARTS[option].stages, throughput),
        )
        for option in able
    ]


def _ranked_tags(
    workspace: Workspace, source_sets: Collection[frozenset[Source]]
) -> dict[frozenset[Source], pa.Table]:
    """(id, concept_id, score) of the tags that each set of sources would make of what is in the lake."""
    evidence = evidence_in(workspace, frozenset[Source]().union(*source_sets))
    fusion = load_fusion(workspace.tier.fusion)
    ranked = {}
    with workspace.lake.connect() as sql:
        for sources in source_sets:
            sql.register("fused", fuse(evidence, fusion, sources))
            ranked[sources] = sql.sql(_FUSED).to_arrow_table()
    return ranked


def _grounding_recall(lake: Lake) -> dict[str, float]:
    """Micro recall of the true regions, overall and tail; every option that grounds has the same regions."""
    rows = lake.read("grounding_recall").to_pylist()
    return {
        row["band"]: row["micro"]
        for row in rows
        if row["iou"] == HEADLINE_IOU and row["band"] in (OVERALL, RARE_BAND)
    }


def seconds_of(stages: Sequence[str], throughput: Mapping[str, Throughput]) -> float | None:
    """An image, of all stages whose speed was measured; None where none was."""
    speeds = [throughput[stage].images_per_second for stage in stages if stage in throughput]
    return sum(1 / speed for speed in speeds if speed) if speeds else None
