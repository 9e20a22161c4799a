"""From a folder's evidence to its tags: fused, cut, lent to broader concepts, in the state that people gave them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from resources.models.tiers import Option, TagSettings, Tier
from resources.tables import TAGS
from resources.workspace import Workspace
from taxonomy import Taxonomy
from vistag_assets.tags.decided import MACHINE, REJECTED
from vistag_assets.tags.evidence import EVIDENCE, TABLES_OF, EvidenceTables, Source, gather
from vistag_assets.tags.fusion import Fusion, fuse, load_fusion
from vistag_assets.whole_image.scoring import Scorer, make_scorer

_COLUMNS = TAGS.select(*TAGS.schema.names[:-1])

SOURCES_OF_OPTION: Mapping[Option, frozenset[Source]] = {
    "A1": frozenset({"vlm"}),
    "A2": frozenset({"global"}),
    "A2T": frozenset({"global", "tagger"}),
    "A3": frozenset({"global", "ocr", "regions", "tagger"}),
    "B1": frozenset({"vlm"}),
    "B2": frozenset({"global"}),
    "B3": frozenset({"vlm", "global", "ocr", "regions", "region_captions", "tagger"}),
}


@dataclass(frozen=True, slots=True)
class Tagger:
    """Everything besides an image's evidence that decides its tags."""

    fusion: Fusion
    sources: frozenset[Source]
    settings: TagSettings
    broader: pa.Table
    """narrower, broader: at every distance; empty where nothing is lent"""
    concepts: pa.Table
    """concept_id, phrase (preferred label), located (bool)"""


def sources_of(tier: Tier, option: Option | None = None) -> frozenset[Source]:
    """What an option (by default the tier's) asks for, as far as the tier has the model for it."""
    roles: dict[Source, object] = {
        "global": tier.encoder,
        "regions": tier.detector,
        "vlm": tier.vlm,
        "region_captions": tier.vlm and tier.vlm.question("region") if tier.detector else None,
        "ocr": tier.ocr,
        "tagger": tier.tagger,
    }
    return frozenset(
        source for source in SOURCES_OF_OPTION[option or tier.option] if roles[source] is not None
    )


def make_tagger(workspace: Workspace) -> Tagger:
    """The tagger of a home's tier. Raises FusionError where the tier's fusion cannot be read."""
    pairs = workspace.taxonomy.broader_pairs() if workspace.tier.share_with_broader else ()
    concepts = workspace.taxonomy.concepts
    return Tagger(
        load_fusion(workspace.tier.fusion),
        sources_of(workspace.tier),
        workspace.tier.tags,
        pa.table(
            [[narrower for narrower, _ in pairs], [broader for _, broader in pairs]],
            schema=pa.schema([("narrower", pa.string()), ("broader", pa.string())]),
        ),
        pa.table(
            {
                "concept_id": [concept.id for concept in concepts],
                "phrase": [concept.pref_label for concept in concepts],
                "iri": pa.array([concept.iri or None for concept in concepts], pa.string()),
                "notation": pa.array([concept.notation or None for concept in concepts], pa.string()),
                "located": [workspace.taxonomy.facets[concept.facet].in_crop for concept in concepts],
            }
        ),
    )


def identity_of(taxonomy: Taxonomy) -> dict[str, str]:
    """For the fingerprint of rows that carry IRI and notation: what these are, where there are any."""
    return {"identity": taxonomy.identity} if taxonomy.identity else {}


def evidence_in(workspace: Workspace, sources: Collection[Source]) -> pa.Table:
    """EVIDENCE of every pair in the lake that one of the sources speaks of.

    Fused by some of them it is the tags that a lesser option would have made, but for what is cut, lent or decided.
    Raises MissingPartition where a table of a source is not there at all.
    """
    names = [name for source in sorted(sources) for name in TABLES_OF[source]]
    tables = EvidenceTables.of({name: workspace.lake.read_all(name) for name in names})
    scorer = make_scorer(workspace, workspace.lake.read("concept_embeddings"))
    return gather(tables, workspace.taxonomy, scorer)


def tag_images(
    tables: Mapping[str, pa.Table],
    decided: pa.Table,
    tagger: Tagger,
    taxonomy: Taxonomy,
    scorer: Scorer,
) -> pa.Table:
    """The columns of `tags` but the fingerprint, of some images, from the tables of the lake and what people decided.

    `decided` has the columns of `DECIDED`. Each pair in it has a row, with what the machine says of it however little.
    """
    own = EvidenceTables.of(tables)
    evidence = gather(own, taxonomy, scorer)
    fused = fuse(evidence, tagger.fusion, tagger.sources)
    words = fuse(_own_words(own.captions), tagger.fusion, tagger.sources & {"vlm"})
    with duckdb.connect() as sql:
        for name, rows in {
            "fused": fused,
            "words": words,
            "decided": decided,
            "concepts": tagger.concepts,
            "broader": tagger.broader,
            "boxes": own.grounded_regions,
        }.items():
            sql.register(name, rows)
        settings = tagger.settings.model_dump()
        regions = "regions" in tagger.sources
        rows = sql.sql(_TAGS, params={**settings, "regions": regions, "fusion": tagger.fusion.version})
        return rows.to_arrow_table().select(_COLUMNS.names).cast(_COLUMNS)


_TAGS = f"""
with ranked as (
    select *, row_number() over (partition by id order by probability desc, concept_id) as place
    from fused anti join (select id, concept_id from decided where state = '{REJECTED}') using (id, concept_id)
), kept as (
    select * from ranked where place <= $top_k and probability >= $min_probability
), lent as (
    select * replace (broader as concept_id), kept.concept_id as lender
    from kept join broader on narrower = kept.concept_id
), asked as (
    select fused.* from fused semi join decided using (id, concept_id)
), best as (
    select * from (
        select *, null as lender from kept
        union all by name select *, null as lender from asked
        union all by name select * exclude (broader, narrower) from lent
    )
    qualify row_number() over (
        partition by id, concept_id order by probability desc, lender nulls first
    ) = 1
), tagged as (
    select id, concept_id, phrase, probability, global_probability, detector_score, region_probability,
        vlm_logprob, region_caption_score, ocr_score, tagger_score, coalesce(region_ids, []) as region_ids,
        lender as inherited_from, false as needs_review
    from best join concepts using (concept_id)
), confident as (
    select id, count(*) as tags from kept where probability >= $confident_probability group by id
), proposed as (
    select id, null as concept_id, phrase, probability, null as global_probability, null as detector_score,
        null as region_probability, vlm_logprob, null as region_caption_score, null as ocr_score,
        null as tagger_score,
        coalesce((
            select list(region_id order by boxes.score desc, region_id) from boxes
            where boxes.id = words.id and boxes.concept_id is null and boxes.phrase = words.phrase
        ), []) as region_ids,
        null as inherited_from, true as needs_review
    from words left join confident using (id)
    where coalesce(tags, 0) < $confident_tags or exists (
        select * from decided
        where decided.id = words.id and decided.concept_id is null and decided.phrase = words.phrase
    )
), machine as (
    -- a concept is told apart by its id, what has none by its words
    select *, case when concept_id is null then phrase end as words from (
        select * from tagged union all by name select * from proposed
    )
), person as (
    select *, case when concept_id is null then phrase end as words from decided
), told as (
    select coalesce(machine.id, person.id) as id, coalesce(machine.concept_id, person.concept_id) as concept_id,
        coalesce(machine.phrase, concepts.phrase, person.phrase, person.concept_id) as phrase,
        -- 0 where nothing speaks for it but a person
        coalesce(probability, 0) as probability, global_probability, detector_score, region_probability, vlm_logprob,
        region_caption_score, ocr_score, tagger_score, coalesce(region_ids, []) as region_ids, inherited_from,
        coalesce(state, '{MACHINE}') as state, decision,
        state is null and coalesce(needs_review, false) as needs_review,
        concepts.iri, concepts.notation,
        $regions and coalesce(located, false) and len(coalesce(region_ids, [])) = 0 as ungrounded, $fusion as fusion
    from machine full join person on machine.id = person.id
        and machine.concept_id is not distinct from person.concept_id
        and machine.words is not distinct from person.words
    left join concepts on concepts.concept_id = coalesce(machine.concept_id, person.concept_id)
)
select *, row_number() over (
    partition by id
    order by state = '{REJECTED}', needs_review, probability desc, concept_id nulls last, phrase
) as rank
from told
order by id, rank
"""


def _own_words(captions: pa.Table) -> pa.Table:
    """Keywords that are no label of the vocabulary: EVIDENCE of the VLM alone, and the phrase."""
    with duckdb.connect() as sql:
        sql.register("captions", captions)
        words = sql.sql(
            "select id, keyword.phrase, max(keyword.logprob)::float as vlm_logprob "
            "from (select id, unnest(keywords) as keyword from captions) "
            "where keyword.concept_id is null and keyword.phrase <> '' group by all order by all"
        ).to_arrow_table()
    columns = {field.name: pa.nulls(words.num_rows, field.type) for field in EVIDENCE}
    columns |= {"id": words["id"], "vlm_logprob": words["vlm_logprob"], "phrase": words["phrase"]}
    return pa.table(columns)
