"""Frequency bands: which tags are common and which are rare, counted on the ground truth."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from resources.tables import FREQUENCY_BANDS

BANDS = ("head", "body", "tail")
LVIS_BANDS = ("rare", "common", "frequent")
RARE_BAND = BANDS[-1]
"""The band that this project is about."""
ZERO = "zero"

# Upper edges (images that carry the tag) of LVIS: Gupta, Dollar, Girshick, "LVIS: A Dataset for Large
# Vocabulary Instance Segmentation", CVPR 2019, section 3.
LVIS_RARE_MAX_IMAGES = 10
LVIS_COMMON_MAX_IMAGES = 100

_RANK_AND_CUT = """
with supported as (select concept_id, count(distinct id) as images from truth group by concept_id),
counted as (
    select concept_id, coalesce(images, 0) as images, given, coalesce(frequency, images, 0) as frequency
    from concepts left join supported using (concept_id)
),
ranked as (select *, row_number() over (order by images > 0 desc, frequency desc, concept_id) as rank from counted)
select
    concept_id,
    case when images = 0 then 'zero'
         when rank <= $head then 'head'
         when rank <= $head + $body then 'body'
         else 'tail' end as band,
    case when images = 0 then 'zero'
         when given is not null then given
         when frequency <= $rare then 'rare'
         when frequency <= $common then 'common'
         else 'frequent' end as lvis_band,
    images,
    rank
from ranked order by rank
"""


def frequency_bands(
    truth: pa.Table,
    concepts: Sequence[str],
    head_share: float = 0.10,
    body_share: float = 0.20,
    lvis_bands: Mapping[str, str] = MappingProxyType({}),
    frequency: Mapping[str, float] = MappingProxyType({}),
) -> pa.Table:
    """Cut the evaluated vocabulary into head, body and tail by the number of images that carry each tag.

    Tags with support are ranked by images, descending, ties by concept id. The first `ceil(head_share * n)`
    of those n tags are the head, the next `ceil(body_share * n)` the body, the rest the tail. Tags with no
    support are band `zero`: they are listed, and no mean includes them. The LVIS bands stand beside: rare (at
    most 10 images), common (at most 100), frequent.

    Args:
        truth: columns `id` (image) and `concept_id`, one row a true tag; repeated rows count once.
        concepts: the evaluated vocabulary, without repetitions.
        head_share: 0..1, share of the tags with support.
        body_share: 0..1; `head_share + body_share` is at most 1.
        lvis_bands: concept id -> one of LVIS_BANDS where it is known from elsewhere: LVIS counts the images
            of its training set. Concepts that are not named are counted on the truth.
        frequency: concept id -> how many images carry it, where the truth is of chosen images and does not say:
            tags with support are ranked by it, and put into the LVIS bands; `images` stays what the truth has.

    Returns:
        A table of `frequency_bands`, one row a concept, by rank (1 = carried by the most images).

    Raises:
        ValueError: the shares do not make a partition, a concept is repeated, the truth names a concept
            outside the vocabulary, or an LVIS band is none.
    """
    if min(head_share, body_share) < 0 or head_share + body_share > 1:
        raise ValueError(
            f"head_share={head_share} and body_share={body_share} must be >= 0 and add up to <= 1"
        )
    if strangers := set(lvis_bands.values()) - set(LVIS_BANDS):
        raise ValueError(f"{sorted(strangers)} are no LVIS bands; there are {', '.join(LVIS_BANDS)}")
    vocabulary = pa.table(
        {
            "concept_id": pa.array(concepts, pa.string()),
            "given": pa.array([lvis_bands.get(concept) for concept in concepts], pa.string()),
            "frequency": pa.array([frequency.get(concept) for concept in concepts], pa.float64()),
        }
    )
    _refuse_repeated(vocabulary["concept_id"])
    _refuse_unknown(truth["concept_id"].cast(pa.string()), vocabulary["concept_id"])
    supported = pc.count_distinct(truth["concept_id"]).as_py()
    with duckdb.connect() as connection:
        connection.register("truth", truth.select(["id", "concept_id"]))
        connection.register("concepts", vocabulary)
        cuts = {
            "head": band_size(head_share, supported),
            "body": band_size(body_share, supported),
            "rare": LVIS_RARE_MAX_IMAGES,
            "common": LVIS_COMMON_MAX_IMAGES,
        }
        return connection.sql(_RANK_AND_CUT, params=cuts).to_arrow_table().cast(FREQUENCY_BANDS.schema)


def band_size(share: float, tags: int) -> int:
    """`ceil(share * tags)` in decimal arithmetic: 0.07 of 100 is 7, where binary floats would make it 8."""
    return math.ceil(Fraction(str(share)) * tags)


def _refuse_repeated(concepts: pa.ChunkedArray) -> None:
    counts = pc.value_counts(concepts)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if repeated:
        raise ValueError(f"the evaluated vocabulary names these concepts more than once: {repeated[:10]}")


def _refuse_unknown(named: pa.ChunkedArray, concepts: pa.ChunkedArray) -> None:
    unknown = pc.unique(named.filter(pc.invert(pc.is_in(named, value_set=concepts)))).to_pylist()
    if unknown:
        raise ValueError(
            f"the ground truth names {len(unknown)} concepts outside the evaluated vocabulary, such as "
            f"{sorted(unknown, key=str)[:10]}; add them to the vocabulary or drop their rows"
        )
