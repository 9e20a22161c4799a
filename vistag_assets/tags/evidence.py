"""What every source says about a concept in an image, side by side: one row a pair."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.lake import embedding_matrix
from resources.tables import (
    CAPTIONS,
    GROUNDED_REGIONS,
    OCR_TEXT,
    REGION_CAPTIONS,
    REGION_MATCHES,
    TAG_SCORES,
    TAGGER_SCORES,
)
from taxonomy import Taxonomy
from vistag_assets.whole_image.scoring import Scorer
from vistag_assets.whole_image.tagger_scores import named_by

Source = Literal["global", "regions", "vlm", "region_captions", "ocr", "tagger"]
SOURCES: tuple[Source, ...] = ("global", "regions", "vlm", "region_captions", "ocr", "tagger")
TABLES_OF: Mapping[Source, tuple[str, ...]] = {
    "global": ("tag_scores",),
    "regions": ("grounded_regions", "region_matches", "region_embeddings"),
    "vlm": ("captions",),
    "region_captions": ("region_captions",),
    "ocr": ("ocr_text",),
    "tagger": ("tagger_scores",),
}
"""The tables of the lake that each source is read from."""

_CROPS_AT_A_TIME = 4096

COLUMNS_OF: Mapping[Source, pa.Schema] = {
    "global": pa.schema(
        [
            ("global_logit", pa.float32()),  # raw score of the encoder's own head
            ("global_probability", pa.float32()),  # calibrated
            ("calibrated", pa.bool_()),  # the encoder has a calibration of this very concept
        ]
    ),
    "regions": pa.schema(
        [
            ("detector_score", pa.float32()),  # of the best box that was asked for the concept
            ("region_logit", pa.float32()),  # of the encoder, for such a box
            ("region_probability", pa.float32()),
            (
                "confirmation",
                pa.float32(),
            ),  # the best product of a box's detector score and match probability
            ("region_ids", pa.list_(pa.string())),  # such boxes that the match did not reject, best first
            (
                "crop_logit",
                pa.float32(),
            ),  # of the encoder, for the best of all boxes, whatever they are called
            ("crop_probability", pa.float32()),
        ]
    ),
    "vlm": pa.schema(
        [
            ("vlm_logprob", pa.float32()),  # of the keyword
            ("caption_mention", pa.float32()),  # 1 where the sentence names the concept
        ]
    ),
    # of the surest caption of a crop that names the concept: the geometric mean of its tokens' probabilities
    "region_captions": pa.schema([("region_caption_score", pa.float32())]),
    "ocr": pa.schema([("ocr_score", pa.float32())]),  # confidence of the line that holds a label
    "tagger": pa.schema(
        [
            ("tagger_score", pa.float32()),  # of the best tag that names the concept
            ("tagger_probability", pa.float32()),  # one half at the tag's own threshold
        ]
    ),
}
"""What each source says; every value is null where it is silent."""

MENTIONS = pa.schema([("id", pa.string()), ("concept_id", pa.string()), ("score", pa.float32())])

EVIDENCE = pa.schema(
    [("id", pa.string()), ("concept_id", pa.string()), ("facet", pa.string())]
    + [field for source in SOURCES for field in COLUMNS_OF[source]]
)

_JOIN = """
with scores as (
    select id, concept_id, logit as global_logit, probability as global_probability,
        list_contains($calibrated, concept_id) as calibrated
    from tag_scores where inherited_from is null
), boxes as (
    select id, concept_id, max(region.score) as detector_score, max(match.logit) as region_logit,
        max(match.probability) as region_probability, max(region.score * match.probability) as confirmation,
        coalesce(list(region_id order by region.score desc, region_id)
            filter (match.verdict is distinct from 'rejected'), []) as region_ids
    from grounded_regions as region left join region_matches as match using (id, region_id, concept_id)
    where concept_id is not null group by all
), keywords as (
    select id, keyword.concept_id, max(keyword.logprob) as vlm_logprob
    from (select id, unnest(keywords) as keyword from captions)
    where keyword.concept_id is not null group by all
), called as (
    select id, concept_id, 1.0 as share, score, threshold from tagger_scores where concept_id is not null
    union all
    select id, names.concept_id, share, score, threshold from tagger_scores join names using (tag)
    where tagger_scores.concept_id is null
), tagger as (
    -- a score at its tag's own threshold is one half, and goes straight to 0 and 1 from there
    select id, concept_id, max(share * score) as tagger_score,
        max(share * case when score < threshold then 0.5 * score / threshold
            when threshold < 1 then 1 - 0.5 * (1 - score) / (1 - threshold) else 1 end) as tagger_probability
    from called group by all
)
select * from scores
    full join boxes using (id, concept_id)
    full join keywords using (id, concept_id)
    full join (select id, concept_id, score as caption_mention from captioned) using (id, concept_id)
    full join (select id, concept_id, score as region_caption_score from named) using (id, concept_id)
    full join (select id, concept_id, score as ocr_score from written) using (id, concept_id)
    full join tagger using (id, concept_id)
    left join facets using (concept_id)
order by id, concept_id
"""

_NEEDED: Mapping[str, pa.Schema] = {
    table.name: table.select(*columns)
    for table, columns in (
        (TAG_SCORES, ("id", "concept_id", "logit", "probability", "inherited_from")),
        (GROUNDED_REGIONS, ("id", "region_id", "concept_id", "phrase", "score")),
        (REGION_MATCHES, ("id", "region_id", "concept_id", "logit", "probability", "verdict")),
        (CAPTIONS, ("id", "caption", "keywords")),
        (REGION_CAPTIONS, ("id", "caption", "mean_logprob")),
        (OCR_TEXT, ("id", "text", "confidence")),
        (TAGGER_SCORES, ("id", "tag", "concept_id", "score", "threshold")),
    )
}


@dataclass(frozen=True, slots=True)
class EvidenceTables:
    """The tables of some images, as read from the lake; empty ones where a source is not used."""

    tag_scores: pa.Table
    grounded_regions: pa.Table
    region_matches: pa.Table
    captions: pa.Table
    region_captions: pa.Table
    ocr_text: pa.Table
    tagger_scores: pa.Table
    region_embeddings: pa.Table | None = None

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table]) -> EvidenceTables:
        """By name; a table that is not given is empty."""
        known = {
            name: tables[name].select(schema.names).cast(schema) if name in tables else schema.empty_table()
            for name, schema in _NEEDED.items()
        }
        return cls(**known, region_embeddings=tables.get("region_embeddings"))


def gather(tables: EvidenceTables, taxonomy: Taxonomy, scorer: Scorer) -> pa.Table:
    """`EVIDENCE` of every (image, concept) that a source speaks of, sorted by both.

    By its facet a crop can show a concept or not: only those of a facet `in_crop`, and
    those that have a box, get a crop score. A concept whose tag score was lent by a narrower one has no global evidence of its own.
    """
    calibration = scorer.calibration
    calibrated = scorer.concept_ids if calibration is None else sorted(calibration.concepts)
    with duckdb.connect() as sql:
        for name in _NEEDED:
            sql.register(name, getattr(tables, name))
        captioned = ((id_, text, 1.0) for id_, text in _rows(tables.captions, "id", "caption"))
        sql.register("captioned", mentions(taxonomy, captioned))
        named = _rows(tables.region_captions, "id", "caption", "mean_logprob")
        sql.register("named", mentions(taxonomy, ((id_, text, math.exp(mean)) for id_, text, mean in named)))
        sql.register("names", named_by(taxonomy, tables.tagger_scores["tag"]))
        sql.register("written", mentions(taxonomy, _rows(tables.ocr_text, "id", "text", "confidence")))
        sql.register(
            "facets",
            pa.table({"concept_id": list(taxonomy.by_id), "facet": [c.facet for c in taxonomy.concepts]}),
        )
        pairs = sql.sql(_JOIN, params={"calibrated": calibrated}).to_arrow_table()
    crops = _crop_scores(pairs, tables.region_embeddings, taxonomy, scorer)
    for name, values in crops.items():
        pairs = pairs.append_column(name, values)
    return pairs.select(EVIDENCE.names).cast(EVIDENCE)


def mentions(taxonomy: Taxonomy, texts: Iterable[tuple[str, str, float]]) -> pa.Table:
    """`MENTIONS` of (image id, text, score 0..1): the best score of a text that names the concept.

    A label that several concepts of a facet bear speaks for each by its share.
    """
    best: dict[tuple[str, str], float] = {}
    for id_, text, score in texts:
        for named in taxonomy.labels.named_in(text):
            for concept_id, share in taxonomy.shares(named.concept_ids, text).items():
                best[id_, concept_id] = max(score * share, best.get((id_, concept_id), 0.0))
    rows = sorted(best)
    return pa.table(
        [[id_ for id_, _ in rows], [concept for _, concept in rows], [best[row] for row in rows]],
        schema=MENTIONS,
    )


def _rows(table: pa.Table, *columns: str) -> Iterator[tuple[Any, ...]]:
    """The rows in which none of the columns is null."""
    values = zip(*(table[column].to_pylist() for column in columns), strict=True)
    return (row for row in values if None not in row)


def only(evidence: pa.Table, sources: Collection[Source]) -> pa.Table:
    """The evidence as it were if only `sources` had spoken: pairs that none of them names are left out."""
    for source in SOURCES:
        for field in COLUMNS_OF[source] if source not in sources else ():
            silent = pa.nulls(evidence.num_rows, field.type)
            evidence = evidence.set_column(evidence.schema.get_field_index(field.name), field, silent)
    spoken = np.zeros(evidence.num_rows, dtype=bool)
    for source in sources:
        for name in COLUMNS_OF[source].names:
            spoken |= is_there(evidence, name)
    return evidence.filter(pa.array(spoken))


def is_there(evidence: pa.Table, column: str) -> np.ndarray:
    """bool [rows]: where the column holds a value."""
    return pc.is_valid(evidence[column]).to_numpy(zero_copy_only=False)


def _crop_scores(
    pairs: pa.Table, regions: pa.Table | None, taxonomy: Taxonomy, scorer: Scorer
) -> dict[str, pa.Array]:
    """The encoder's best logit and probability over all boxes of the image, for concepts a box can show."""
    rows = pairs.num_rows
    if regions is None or regions.num_rows == 0:
        return {name: pa.nulls(rows, pa.float32()) for name in ("crop_logit", "crop_probability")}
    images, owner = np.unique(regions["id"].to_numpy(zero_copy_only=False), return_inverse=True)
    crops = embedding_matrix(regions["embedding"])
    logit = np.full((len(images), len(scorer.concept_ids)), -np.inf, dtype=np.float32)
    probability = np.zeros_like(logit)
    for start in range(0, len(crops), _CROPS_AT_A_TIME):
        part = slice(start, start + _CROPS_AT_A_TIME)
        of_crops = scorer.head.logits(crops[part] @ scorer.concepts.T)
        np.maximum.at(logit, owner[part], of_crops)
        np.maximum.at(probability, owner[part], scorer.probabilities(of_crops))
    image = pc.index_in(pairs["id"], value_set=pa.array(images, pa.string()))
    concept = pc.index_in(pairs["concept_id"], value_set=pa.array(scorer.concept_ids, pa.string()))
    in_crop = [facet.name for facet in taxonomy.facets.values() if facet.in_crop]
    located = pc.is_in(pairs["facet"], value_set=pa.array(in_crop, pa.string()))
    shown = located.to_numpy(zero_copy_only=False) | is_there(pairs, "detector_score")
    known = pc.and_(pc.is_valid(image), pc.is_valid(concept)).to_numpy(zero_copy_only=False) & shown
    at = pc.fill_null(image, 0).to_numpy(), pc.fill_null(concept, 0).to_numpy()
    return {
        "crop_logit": pa.array(logit[at], pa.float32(), mask=~known),
        "crop_probability": pa.array(probability[at], pa.float32(), mask=~known),
    }
