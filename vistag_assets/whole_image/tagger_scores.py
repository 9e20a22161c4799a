"""What a tagger says of each image: a score for each tag of its own, or of the vocabulary where it is asked that."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from resources.checked import checked
from resources.models.taggers import AskedTag
from resources.models.taggers.spec import OPEN_SET_THRESHOLD
from resources.previews import Preview, preview
from resources.tables import TAGGER_SCORES
from resources.workspace import VistagResource, Workspace
from taxonomy import Taxonomy
from vistag_assets.folder_asset import Batch, Folder, Proxies, Rows, folder_asset, in_batches_of_images
from vistag_assets.lineage import derived

PREVIEWED_TAGS = 5
_COLUMNS = TAGGER_SCORES.select(*TAGGER_SCORES.schema.names[:-1])


def _best(folder: Folder) -> Preview:
    pictures = folder.thumbnails()
    rows = sorted(folder.rows_of("tagger_scores", pictures), key=lambda row: row["rank"])
    told = [
        (
            picture,
            ", ".join(
                f"{r['tag']} {r['score']:.2f}"
                for r in [row for row in rows if row["id"] == id_][:PREVIEWED_TAGS]
            ),
        )
        for id_, picture in pictures.items()
    ]
    return preview(["image", f"best {PREVIEWED_TAGS} tags"], told)


def _about(folder: Folder) -> dict[str, Any]:
    """How many of the tagger's tags the vocabulary knows."""
    workspace = folder.workspace
    if workspace.tier.tagger is None or workspace.tier.tagger.open_set:
        return {}
    names = workspace.tagger.tag_list.names
    known = named_by(workspace.taxonomy, pa.chunked_array([pa.array(names, pa.string())]))
    return {"tags": len(names), "tags_of_the_vocabulary": len(set(known["tag"].to_pylist()))}


@folder_asset("Asking the tagger", "tagged", role="tagger", version=1, preview=_best, about=_about)
def tagger_scores(folder: Folder, proxies: Proxies) -> Rows:
    workspace, tagger = folder.workspace, folder.workspace.tagger
    spec = tagger.spec
    asked = folder.once(_asked, workspace) if spec.open_set else None

    def score(ids: list[str], images: Sequence[Image.Image]) -> Batch:
        scores = tagger.score(images, asked)
        tags = folder.once(_tags, workspace)
        return Batch(ids, _rows(ids, scores, tags, spec.min_score))

    wanted = derived(
        proxies,
        tagger=tagger.fingerprint,
        min_score=spec.min_score,
        threshold=spec.threshold or 0.0,
        version=folder.version,
        **({"concepts": workspace.taxonomy.fingerprint} if spec.open_set else {}),
    )
    return Rows(wanted, in_batches_of_images(spec.batch_size, folder.opener(proxies), score), tagger.load)


def named_by(taxonomy: Taxonomy, tags: pa.ChunkedArray) -> pa.Table:
    """(tag, concept_id, share) of the tags that are a label of the vocabulary, each once.

    A label that several concepts of a facet bear speaks for each by its share.
    """
    rows = [
        (tag, concept_id, share)
        for tag in pc.unique(tags).to_pylist()
        for concept_id, share in taxonomy.shares(taxonomy.labels.concepts_of(tag), tag).items()
    ]
    return pa.table(
        [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []],
        schema=pa.schema([("tag", pa.string()), ("concept_id", pa.string()), ("share", pa.float64())]),
    )


def _asked(workspace: Workspace) -> tuple[AskedTag, ...]:
    """The vocabulary as an open-set tagger is asked it, a concept a place, in the order of the vocabulary."""
    taxonomy = workspace.taxonomy
    return tuple(
        AskedTag(taxonomy.asked_labels(concept), taxonomy.phrases(concept)) for concept in taxonomy.concepts
    )


def _tags(workspace: Workspace) -> pa.Table:
    """(tag, category, concept_id, threshold) of each place of the scores."""
    spec = workspace.tagger.spec
    ids: list[str | None]
    if spec.open_set:
        ids = [concept.id for concept in workspace.taxonomy.concepts]
        names = [concept.pref_label for concept in workspace.taxonomy.concepts]
        thresholds = np.full(len(ids), spec.threshold or OPEN_SET_THRESHOLD, np.float32)
        categories: list[str | None] = [None] * len(ids)
    else:
        own = workspace.tagger.tag_list
        ids, names, thresholds = [None] * len(own.names), list(own.names), own.thresholds
        categories = [category or None for category in own.categories]
    columns = [names, categories, ids, thresholds]
    schema = pa.schema(
        [TAGGER_SCORES.schema.field(name) for name in ("tag", "category", "concept_id", "threshold")]
    )
    return pa.table(columns, schema=schema)


def _rows(ids: Sequence[str], scores: np.ndarray, tags: pa.Table, min_score: float) -> pa.Table:
    """The rows of images of which `scores` [images, tags] are kept from `min_score` on, best first."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    image, place = np.nonzero(ranked >= min_score)
    chosen = tags.take(pa.array(order[image, place]))
    return pa.table(
        {
            "id": pa.array(ids, pa.string()).take(pa.array(image)),
            "rank": pa.array(place + 1, pa.int32()),
            **{name: chosen[name] for name in chosen.column_names},
            "score": pa.array(ranked[image, place], pa.float32()),
        }
    ).select(_COLUMNS.names)


@dg.asset_check(asset="tagger_scores", description="Scores lie within 0..1 and fall with the rank.")
def tagger_scores_fall_with_the_rank(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    rows = wrong = 0
    if lake.folders("tagger_scores"):
        with lake.connect(skip_damaged=True) as sql:
            [(rows, wrong)] = sql.execute(
                "select count(*), count(*) filter (score not between 0 and 1 or score > better) from "
                "(select score, lag(score) over (partition by folder, id order by rank) as better from tagger_scores)"
            ).fetchall()
    return checked(
        "scores of the tagger",
        rows,
        wrong,
        right="lie within 0..1 and fall with the rank",
        fault="lie outside 0..1 or above that of a better rank",
    )
