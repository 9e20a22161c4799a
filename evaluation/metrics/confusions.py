"""What was suggested instead where a true tag was missed: tags of its facet that stand above it and are wrong."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from resources.tables import TAG_CONFUSIONS

_CONFUSIONS = """
with ranked as (
    select id, concept_id from predictions semi join concepts using (concept_id)
    qualify row_number() over (partition by id order by score desc, concept_id) <= $k
),
asked as (
    select t.id, t.concept_id, facet, ranked.id is null as missed
    from (select distinct id, concept_id from truth semi join chosen using (concept_id)) as t
    left join ranked using (id, concept_id) left join facets using (concept_id)
),
counted as (
    select concept_id, count(*)::int as images, count_if(missed)::int as missed from asked group by concept_id
),
wrong as (
    select id, concept_id as instead, facet
    from ranked join facets using (concept_id) anti join truth using (id, concept_id)
),
confused as (
    select concept_id, instead, count(*) as times
    from asked join wrong using (id, facet)
    where missed and (concept_id, instead) not in (from broader)
    group by concept_id, instead
    qualify row_number() over (partition by concept_id order by times desc, instead) <= $most
)
select concept_id, images, missed, instead, coalesce(times, 0)::int as times
from counted left join confused using (concept_id)
where missed > 0
order by missed / images desc, missed desc, concept_id, times desc, instead
"""


def confusions(
    truth: pa.Table,
    predictions: pa.Table,
    concepts: Sequence[str],
    chosen: Sequence[str],
    facets: pa.Table,
    broader: Sequence[tuple[str, str]],
    k: int,
    most: int = 3,
) -> pa.Table:
    """For each chosen tag that is missed somewhere, the wrong tags of its facet that took its place.

    A tag is missed on an image that carries it where it is not among the first k; every tag that is among them
    stands above it. Wrong are those that the image does not carry; a broader concept of the missed one is right.

    Args:
        truth: `id`, `concept_id`, one row a true tag.
        predictions: `id`, `concept_id`, `score`; equal scores are ranked by concept id.
        concepts: those that are ranked.
        chosen: the tags that are looked at, such as those of the tail.
        facets: `concept_id`, `facet`; what has no facet is confused with nothing.
        broader: (narrower id, broader id) at every distance.
        k: how many suggestions of an image are looked at, >= 1.
        most: wrong tags kept for a tag, those on the most images first, ties by concept id.

    Returns:
        `tag_confusions`, the tags of the lowest recall first; one row a tag and wrong tag.
    """
    names = pa.array([*chosen], pa.string()), pa.array([*concepts], pa.string())
    with duckdb.connect() as sql:
        for table, rows in {
            "truth": truth.select(["id", "concept_id"]),
            "predictions": predictions.select(["id", "concept_id", "score"]),
            "chosen": pa.table({"concept_id": names[0]}),
            "concepts": pa.table({"concept_id": names[1]}),
            "facets": facets.select(["concept_id", "facet"]),
            "broader": pa.table(
                {
                    "narrower": pa.array([narrower for narrower, _ in broader], pa.string()),
                    "wider": pa.array([wider for _, wider in broader], pa.string()),
                }
            ),
        }.items():
            sql.register(table, rows)
        return (
            sql.sql(_CONFUSIONS, params={"k": k, "most": most}).to_arrow_table().cast(TAG_CONFUSIONS.schema)
        )
