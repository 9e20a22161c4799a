"""Recall@k and average precision of tags, from the pairs that were predicted rather than from a dense matrix.

Everything is computed from two lists of (image, tag) pairs, the true and the predicted ones, encoded as
integers. The rank of each true pair is all that recall@k depends on, for any k and any group of tags, so
memory grows with the pairs that are given and never with images x tags. docs/metrics.md has the formulas and
a worked example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.metrics.band_rates import BandRates, band_rates
from evaluation.metrics.bands import BANDS, LVIS_BANDS
from evaluation.metrics.intervals import Interval
from evaluation.metrics.region_tables import positions, scores

KS = (1, 5, 10, 20)
HEADLINE_K = 10
OVERALL = "overall"
UNRANKED = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class TagPairs:
    """True and predicted (image, tag) pairs as positions in `images` and `concepts`.

    `true_pair` says for each predicted pair which true pair it is, -1 for none.
    """

    images: pa.Array  # string [images]: those that are evaluated
    concepts: pa.Array  # string [tags]: those that are ranked, ascending: positions order as the ids do
    true_image: np.ndarray  # int64 [true pairs]
    true_tag: np.ndarray  # int64 [true pairs]
    image: np.ndarray  # int64 [predicted pairs]
    tag: np.ndarray  # int64 [predicted pairs]
    score: np.ndarray  # float64 [predicted pairs]
    level: np.ndarray  # int64 [predicted pairs]: distinct scores that are higher, over all images
    rank: np.ndarray  # int32 [predicted pairs]: 1 is the best of its image; equal scores go by concept id
    true_pair: np.ndarray  # int64 [predicted pairs]
    ignored_image_rows: int  # predictions about images that are not evaluated
    ignored_concept_rows: int  # predictions of tags that are not ranked
    judged: np.ndarray | None = None  # int64 [tags]: images in which each tag was looked for; None: in all

    @property
    def tag_judged(self) -> np.ndarray:
        """int64 [tags]: images in which each tag is known to be there or not."""
        return np.full(len(self.concepts), len(self.images)) if self.judged is None else self.judged

    @property
    def tag_support(self) -> np.ndarray:
        """int64 [tags]: images that carry each tag."""
        return np.bincount(self.true_tag, minlength=len(self.concepts))


@dataclass(frozen=True, slots=True)
class RecallFigure:
    """Recall@k of one band; `ci95` is that of `micro`, None where fewer than two images carry the band."""

    band: str
    k: int
    micro: float  # 0..1
    macro: float  # 0..1
    ceiling: float  # 0..1, the largest micro recall that k slots an image allow
    support: int  # true (image, tag) pairs
    tags: int  # tags with support
    ci95: Interval | None = None
    images: int = 0  # that carry a tag of the band


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall@k of several groups of tags, and what it is made of."""

    figures: tuple[RecallFigure, ...]
    rates: Mapping[str, BandRates]  # band -> at each of the ks, in their order


def pair_up(
    truth: pa.Table, predictions: pa.Table, concepts: Sequence[str], images: Sequence[str] | None = None
) -> TagPairs:
    """Encode truth and predictions, restricted to the evaluated images and the ranked concepts.

    Args:
        truth: `id` (image), `concept_id`; repeated rows count once.
        predictions: `id`, `concept_id`, `score` (any real number, larger is better): any subset of the pairs,
            such as the best 128 of each image. Rows about other images or other concepts are counted and left
            out.
        concepts: the tags that are ranked.
        images: the evaluated images, a superset of those in the truth; by default exactly those. More images
            change average precision (they are negatives) and never recall.

    Returns:
        The pairs as positions in the images, in order of appearance, and in the tags, ascending.

    Raises:
        ValueError: a column is missing or holds nulls, a score is NaN, a pair is predicted twice, there is no
            truth, or the truth names an image or a concept that is not evaluated.
    """
    true_ids = _strings(truth, "id", "ground truth")
    true_concepts = _strings(truth, "concept_id", "ground truth")
    if len(true_ids) == 0:
        raise ValueError("the ground truth names no tag, so there is nothing to measure recall against")
    image_set = pc.unique(true_ids if images is None else pa.array(images, pa.string()))
    vocabulary = pa.array(sorted(set(concepts)), pa.string())
    true_key = np.unique(
        _known_positions(true_ids, image_set, "images") * len(vocabulary)
        + _known_positions(true_concepts, vocabulary, "concepts")
    )

    score = _scores(predictions)
    image = positions(_strings(predictions, "id", "predictions"), image_set)
    tag = positions(_strings(predictions, "concept_id", "predictions"), vocabulary)
    other_image, other_concept = image < 0, tag < 0
    kept = ~(other_image | other_concept)
    image, tag, score = image[kept], tag[kept], score[kept]
    key = image * len(vocabulary) + tag
    key, image, tag, score = _by_first(key, image, tag, score)
    _refuse_repeated(key, image_set, vocabulary)
    level = _levels(score)

    nearest = np.searchsorted(true_key, key).clip(max=len(true_key) - 1)
    return TagPairs(
        images=image_set,
        concepts=vocabulary,
        true_image=true_key // len(vocabulary),
        true_tag=true_key % len(vocabulary),
        image=image,
        tag=tag,
        score=score,
        level=level,
        rank=_ranks(image, level, len(image_set)),
        true_pair=np.where(true_key[nearest] == key, nearest, -1),
        ignored_image_rows=int(other_image.sum()),
        ignored_concept_rows=int((other_concept & ~other_image).sum()),
    )


def looked_for(pairs: TagPairs, negatives: pa.Table) -> tuple[TagPairs, np.ndarray]:
    """The pairs of a federated truth: predictions of what nobody looked for are taken out before ranking.

    Args:
        pairs: of `pair_up`.
        negatives: `id`, `concept_id`: what somebody looked for and did not find. Rows about other images or concepts
            are left out, and so are those that the truth names as present.

    Returns:
        The pairs, and bool [predicted pairs of `pairs`]: which of them are in it.
    """
    tags = len(pairs.concepts)
    image, tag = positions(negatives["id"], pairs.images), positions(negatives["concept_id"], pairs.concepts)
    known = (image >= 0) & (tag >= 0)
    absent = np.setdiff1d(image[known] * tags + tag[known], pairs.true_image * tags + pairs.true_tag)
    kept = (pairs.true_pair >= 0) | np.isin(pairs.image * tags + pairs.tag, absent)
    rest = {name: getattr(pairs, name)[kept] for name in ("image", "tag", "score", "level", "true_pair")}
    ranks = _ranks(rest["image"], rest["level"], len(pairs.images))
    judged = pairs.tag_support + np.bincount(absent % tags, minlength=tags)
    return replace(pairs, rank=ranks, judged=judged, **rest), kept


def true_ranks(pairs: TagPairs) -> np.ndarray:
    """The rank of every true tag among the predictions of its image: int32 [true pairs], 1 is best.

    By descending score, equal scores by concept id. `UNRANKED` where the tag was not predicted.
    """
    ranks = np.full(len(pairs.true_image), UNRANKED, np.int32)
    is_true = pairs.true_pair >= 0
    ranks[pairs.true_pair[is_true]] = pairs.rank[is_true]
    return ranks


def band_groups(bands: pa.Table, concepts: pa.Array) -> dict[str, np.ndarray]:
    """Masks bool [tags] over `concepts` of the groups that have tags.

    `overall` (every tag with support) comes first, then head, body and tail, then the LVIS bands.
    """
    known = bands.filter(pc.is_in(bands["band"], value_set=pa.array(BANDS)))
    position = _known_positions(known["concept_id"], concepts, "concepts")
    names, lvis_names = known["band"].to_numpy(), known["lvis_band"].to_numpy()

    def mask(chosen: np.ndarray) -> np.ndarray:
        member = np.zeros(len(concepts), bool)
        member[position[chosen]] = True
        return member

    groups = {
        OVERALL: np.ones(len(names), bool),
        **{band: names == band for band in BANDS},
        **{band: lvis_names == band for band in LVIS_BANDS},
    }
    return {name: mask(chosen) for name, chosen in groups.items() if chosen.any()}


def tag_hits(pairs: TagPairs, ranks: np.ndarray, k: int) -> np.ndarray:
    """int64 [tags]: on how many of the images that carry it each tag is among the first k."""
    return np.bincount(pairs.true_tag[ranks <= k], minlength=len(pairs.concepts))


def recall_at_k(
    pairs: TagPairs,
    ranks: np.ndarray,
    groups: Mapping[str, np.ndarray],
    ks: Sequence[int] = KS,
) -> Recall:
    """Recall@k, micro and macro, with its ceiling and a 95 % interval over images.

    Micro: true tags of the group among the first k of their image / true tags of the group. Macro: the mean
    over the tags of the group that have support. The first k are taken over all ranked concepts, not over the
    group. Ceiling: `sum over images of min(true tags of the group, k)` / true tags of the group.

    Args:
        pairs: of `pair_up`.
        ranks: int32 [true pairs], of `true_ranks`.
        groups: name -> bool [tags]; a group without support is left out of the result.
        ks: cut-offs, each >= 1.

    Returns:
        A figure a group and cut-off, and the rates that they are of.

    Raises:
        ValueError: a k is below 1.
    """
    if min(ks) < 1:
        raise ValueError(f"recall@k needs k >= 1, not {min(ks)}")
    support, hits = pairs.tag_support, np.stack([ranks <= k for k in ks], axis=1).astype(np.float64)
    rates = band_rates(pairs.true_image, pairs.true_tag, hits, groups)
    figures = []
    for name, of in rates.items():
        mask = groups[name] & (support > 0)
        on_image = np.bincount(pairs.true_image[mask[pairs.true_tag]])
        for j, k in enumerate(ks):
            figures.append(
                RecallFigure(
                    band=name,
                    k=k,
                    micro=float(of.micro[j]),
                    macro=float((tag_hits(pairs, ranks, k)[mask] / support[mask]).mean()),
                    ceiling=float(np.minimum(on_image, k).sum() / of.support),
                    support=of.support,
                    tags=of.tags,
                    ci95=of.ci95(j),
                    images=of.images,
                )
            )
    return Recall(tuple(figures), rates)


def average_precision(pairs: TagPairs) -> np.ndarray:
    """Average precision of each tag over the evaluated images.

    scikit-learn's definition (`average_precision_score`): the sum of (R_n - R_(n-1)) P_n over the distinct
    scores, no interpolation. Pairs that were not predicted tie below every predicted one. Of a federated truth
    (`looked_for`) a tag's images are those in which it was looked for.

    Args:
        pairs: of `pair_up`, or of `looked_for`.

    Returns:
        float64 [tags], 0..1; NaN without support.
    """
    order = np.argsort(_joint(pairs.tag, pairs.level))
    tag, level, is_true = pairs.tag[order], pairs.level[order], pairs.true_pair[order] >= 0
    tags = len(pairs.concepts)
    first_of_tag = np.searchsorted(tag, np.arange(tags))
    true_so_far = np.concatenate([[0], np.cumsum(is_true)])
    true_in_tag = true_so_far[1:] - true_so_far[first_of_tag[tag]]
    rows_in_tag = np.arange(1, len(tag) + 1) - first_of_tag[tag]

    # Equal scores are one threshold: only the last row of each run of them counts.
    last = np.flatnonzero(np.append((tag[1:] != tag[:-1]) | (level[1:] != level[:-1]), True)[: len(tag)])
    gained = np.diff(true_so_far[last + 1], prepend=0)
    weighted = np.bincount(tag[last], gained * true_in_tag[last] / rows_in_tag[last], minlength=tags)

    support = pairs.tag_support
    found = np.bincount(tag[is_true], minlength=tags)
    # The last threshold takes in every image: its precision is support / images, its recall step missed /
    # support.
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = weighted / support + (support - found) / pairs.tag_judged
    return np.where(support > 0, precision, np.nan)


def _by_first(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """The columns [rows] in ascending order of the first."""
    order = np.argsort(columns[0], kind="stable")
    return tuple(column[order] for column in columns)


def _levels(score: np.ndarray) -> np.ndarray:
    """int64 [rows]: 0 for the highest score; equal scores share one level."""
    order = np.argsort(-score)
    level = np.empty(len(score), np.int64)
    level[order] = np.cumsum(np.diff(score[order], prepend=score[order[:1]]) != 0)
    return level


def _joint(group: np.ndarray, level: np.ndarray) -> np.ndarray:
    """int64 [rows] that orders by group, then by level: one key sorts several times faster than two."""
    return group * (level.max(initial=0) + 1) + level


def _ranks(image: np.ndarray, level: np.ndarray, images: int) -> np.ndarray:
    """int32 [predicted pairs]: 1 + how many pairs of the image come before, of one level in the order of the rows."""
    order = np.argsort(_joint(image, level), kind="stable")
    first_of_image = np.searchsorted(image[order], np.arange(images))
    rank = np.empty(len(image), np.int32)
    rank[order] = np.arange(1, len(image) + 1) - first_of_image[image[order]]
    return rank


def _strings(table: pa.Table, column: str, what: str) -> pa.ChunkedArray:
    if column not in table.column_names:
        raise ValueError(f"the {what} have no column {column!r}, only {table.column_names}")
    values = table[column].cast(pa.string())
    if values.null_count:
        raise ValueError(f"column {column!r} of the {what} holds {values.null_count} nulls")
    return values


def _scores(predictions: pa.Table) -> np.ndarray:
    if "score" not in predictions.column_names:
        raise ValueError(f"the predictions have no column 'score', only {predictions.column_names}")
    return scores(predictions, "predictions")


def _known_positions(values: pa.ChunkedArray, known: pa.Array, what: str) -> np.ndarray:
    position = positions(values, known)
    strangers = pc.unique(values.filter(pa.array(position < 0))).to_pylist()
    if strangers:
        raise ValueError(f"the ground truth names {what} that are not evaluated, such as {strangers[:10]}")
    return position


def _refuse_repeated(key: np.ndarray, images: pa.Array, concepts: pa.Array) -> None:
    """`key` is ascending."""
    repeated = key[1:][key[1:] == key[:-1]]
    if repeated.size:
        image, tag = divmod(int(repeated[0]), len(concepts))
        raise ValueError(
            f"{repeated.size} predictions repeat a pair, such as image {images[image].as_py()!r} with "
            f"concept {concepts[tag].as_py()!r}; keep one score for each pair"
        )
