"""Two runs over the same images: which differences are real.

Both runs are reduced to the rank of each true tag, so that any two can be compared pair by pair, also years
apart. Differences of bands come with the paired interval of `intervals`, those of single tags with the exact
test of McNemar (McNemar, "Note on the sampling error of the difference between correlated proportions or
percentages", Psychometrika 12, 1947), as a tag stands on too few images for more.
"""

from dataclasses import dataclass
from typing import Annotated

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binom

from evaluation.metrics.band_rates import band_rates
from evaluation.metrics.bands import BANDS
from evaluation.metrics.intervals import Interval, flips_by_image, paired_interval
from evaluation.metrics.recall_at_k import OVERALL, UNRANKED, TagPairs, true_ranks
from evaluation.metrics.rows import ArrowRows
from resources.tables import TAG_RANKS

TAG_CHANGES_SCHEMA = pa.schema(
    [
        ("concept_id", pa.string()),
        ("band", pa.string()),
        ("images", pa.int32()),  # that carry it and are in both runs
        ("before", pa.int32()),  # images on which it was among the first k
        ("after", pa.int32()),
        ("lost", pa.int32()),  # images on which it was and is no longer
        ("gained", pa.int32()),
        ("p_value", pa.float64()),  # exact McNemar, two-sided; null where no image changed
    ]
)

_BOTH = """
select id, concept_id, after.band,
       coalesce(before.rank <= $k, false) as before, coalesce(after.rank <= $k, false) as after
from before join after using (id, concept_id) order by all
"""
_BY_TAG = """
select concept_id, band, count(*)::int as images,
       count(*) filter (before)::int as before, count(*) filter (after)::int as after,
       count(*) filter (before and not after)::int as lost, count(*) filter (after and not before)::int as gained
from pairs group by concept_id, band
order by list_position($bands, band), gained - lost, lost desc, images desc, concept_id
"""


@dataclass(frozen=True, slots=True)
class BandChange:
    """Micro recall@k of one band in both runs, over the true tags that both have."""

    band: str
    before: float  # 0..1
    after: float  # 0..1
    support: int  # true (image, tag) pairs
    has_changed: bool  # any of those pairs
    ci95: Interval | None  # of after - before; None where fewer than two images carry the band

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def is_real(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        return self.ci95 is not None and not self.ci95.low <= 0 <= self.ci95.high


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one run to another. Without a common image `images` is 0 and there are no changes."""

    k: int
    images: int  # with a true tag, in both runs
    bands: tuple[BandChange, ...]  # tail, body, head, overall; those without support are absent
    tags: Annotated[
        pa.Table, ArrowRows(TAG_CHANGES_SCHEMA)
    ]  # by band, tail first, then by images lost, the most first

    def band(self, name: str) -> BandChange | None:
        return next((change for change in self.bands if change.band == name), None)

    @property
    def changed_tags(self) -> pa.Table:
        """The rows of `tags` that changed on any image."""
        return self.tags.filter(pc.greater(pc.add(self.tags["lost"], self.tags["gained"]), 0))


def rank_table(pairs: TagPairs, bands: pa.Table) -> pa.Table:
    """`tag_ranks`: the rank of every true tag among the ranked concepts on its image.

    Args:
        bands: of `bands.frequency_bands`, of at least the true concepts.
    """
    ranks, concept_id = true_ranks(pairs), pairs.concepts.take(pa.array(pairs.true_tag))
    row = pc.index_in(concept_id, value_set=bands["concept_id"].combine_chunks())
    columns = [
        pairs.images.take(pa.array(pairs.true_image)),
        concept_id,
        bands["band"].combine_chunks().take(row),
        pa.array(ranks, mask=ranks == UNRANKED),
    ]
    return pa.table(columns, schema=TAG_RANKS.schema)


def compare_ranks(before: pa.Table, after: pa.Table, k: int) -> Comparison:
    """Compare recall@k of two runs over the true (image, tag) pairs that both evaluated.

    Args:
        before, after: `tag_ranks`, one row a true pair. Where they disagree on a band, that of `after` counts.
        k: the cut-off, >= 1.

    Returns:
        What changed by band, and by tag; no band where no image is in both runs.
    """
    with duckdb.connect() as sql:
        sql.register("before", before)
        sql.register("after", after)
        pairs = sql.sql(_BOTH, params={"k": k}).to_arrow_table()
        sql.register("pairs", pairs)
        tags = sql.sql(_BY_TAG, params={"bands": [*reversed(BANDS)]}).to_arrow_table()
    lost, gained = (tags[name].to_numpy() for name in ("lost", "gained"))
    p_value = pa.array(_mcnemar(lost, gained), mask=lost + gained == 0)
    images = pc.unique(pairs["id"])
    return Comparison(
        k=k,
        images=len(images),
        bands=_changes(pairs, images) if len(images) else (),
        tags=tags.append_column("p_value", p_value).cast(TAG_CHANGES_SCHEMA),
    )


def _changes(pairs: pa.Table, images: pa.Array) -> tuple[BandChange, ...]:
    image = pc.index_in(pairs["id"], value_set=images).to_numpy()
    band = pc.index_in(pairs["band"], value_set=pa.array(BANDS)).to_numpy()
    hits = np.stack([pairs[name].to_numpy(zero_copy_only=False) for name in ("before", "after")], axis=1)
    members = {name: np.arange(len(BANDS)) == BANDS.index(name) for name in reversed(BANDS)}
    members[OVERALL] = np.ones(len(BANDS), bool)
    rates = band_rates(image, band, hits.astype(np.float64), members)
    changed = hits[:, 0] != hits[:, 1]
    return tuple(
        BandChange(
            name,
            before=float(of.micro[0]),
            after=float(of.micro[1]),
            support=of.support,
            has_changed=bool((members[name][band] & changed).any()),
            ci95=paired_interval(_flips(image, hits, members[name][band])),
        )
        for name, of in rates.items()
    )


def _flips(image: NDArray[np.int64], hits: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    return flips_by_image(image[chosen], *hits[chosen].T)


def _mcnemar(lost: NDArray[np.int32], gained: NDArray[np.int32]) -> NDArray[np.float64]:
    """Two-sided exact p-values: as many of the changed images, or fewer, on the rarer side of a fair coin."""
    fewer, changed = np.minimum(lost, gained), lost + gained
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(fewer, changed, 0.5)), np.float64)
