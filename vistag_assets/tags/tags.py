"""The final tags: every source's evidence fused into one calibrated probability, in the state that people gave it."""

from typing import Annotated, Any

import dagster as dg
import pyarrow as pa

from resources.checked import checked
from resources.images.ground import BLANK
from resources.lake import MissingPartition
from resources.lake.checks import count_lacking
from resources.lake.rows_by_id import RowsById
from resources.previews import Preview, preview
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Folder, Rows, folder_asset, in_batches
from vistag_assets.lineage import answered, by_id, gathered, of_ids
from vistag_assets.tags.decided import decided_in, decision_fingerprints, import_states
from vistag_assets.tags.evidence import SOURCES, TABLES_OF
from vistag_assets.tags.tagger import identity_of, make_tagger, tag_images
from vistag_assets.whole_image.familiarity import stamped, unfamiliar, with_tempered
from vistag_assets.whole_image.scoring import make_scorer

PREVIEWED_TAGS = 8
_IMAGES_AT_A_TIME = 256


def _evidence(folder: Folder) -> Preview:
    """The best tags of some images as a table of their evidence."""
    pictures = folder.thumbnails()
    rows = sorted(folder.rows_of("tags", pictures), key=lambda row: row["rank"])
    columns = ("probability", "global_probability", "detector_score", "region_probability")
    lines = [
        (
            # the picture stands beside the first of its tags
            picture if index == 0 else "",
            tag["phrase"] + (" (ungrounded)" if tag["ungrounded"] else ""),
            *("" if tag[column] is None else f"{tag[column]:.2f}" for column in columns),
            " ".join(tag["region_ids"]),
        )
        for id_, picture in pictures.items()
        for index, tag in enumerate([row for row in rows if row["id"] == id_][:PREVIEWED_TAGS])
    ]
    return preview(["image", "tag", "fused", "global", "detector", "match", "regions"], lines)


def _about(folder: Folder) -> dict[str, Any]:
    tier, tagger = folder.workspace.tier, folder.once(make_tagger, folder.workspace)
    return {
        "option": tier.option,
        "sources": ", ".join(source for source in SOURCES if source in tagger.sources),
        "fusion": tagger.fusion.version,
        **{f"tags_{name}": value for name, value in tier.tags.model_dump().items()},
    }


def _import(folder: Folder) -> None:
    """What rows of people say goes to the log before the rows are replaced."""
    import_states(folder.workspace.home, folder.key)


@folder_asset(
    "Fusing tags",
    kinds={"duckdb", "scikitlearn"},
    version=3,
    preview=_evidence,
    about=_about,
    before=_import,
)
def tags(
    folder: Folder,
    images: pa.Table,
    proxies: Annotated[pa.Table, "id"],
    concept_embeddings: pa.Table,
    tag_scores: pa.Table | None,
    grounded_regions: pa.Table | None,
    region_matches: pa.Table | None,
    region_embeddings: pa.Table | None,
    captions: pa.Table | None,
    region_captions: pa.Table | None,
    ocr_text: pa.Table | None,
    tagger_scores: pa.Table | None,
    familiarity: pa.Table | None,
) -> Rows:
    """No model is needed for it. `state` is what the log of decisions says, of the same content or the same pixels.
    Of a blank picture nothing is known but that: whatever a model says of it is chance.

    Raises MissingPartition where a table of a source that the tier has was never made, LogUnavailable.
    """
    workspace = folder.workspace
    tagger = folder.once(make_tagger, workspace)
    made = {
        "tag_scores": tag_scores,
        "grounded_regions": grounded_regions,
        "region_matches": region_matches,
        "region_embeddings": region_embeddings,
        "captions": captions,
        "region_captions": region_captions,
        "ocr_text": ocr_text,
        "tagger_scores": tagger_scores,
    }
    tables = {
        name: _made(name, made[name]) for source in sorted(tagger.sources) for name in TABLES_OF[source]
    }
    strange = unfamiliar(familiarity)
    decided = decided_in(workspace.decisions, images, workspace.taxonomy.replaced, workspace.taxonomy.labels)
    blank = _blank(images)
    wanted = gathered(
        proxies,
        [
            *(answered(tables[name]) for name in sorted(tables)),
            decision_fingerprints(decided),
            by_id(dict.fromkeys(sorted(blank), BLANK)),
        ],
        concepts=workspace.taxonomy.fingerprint,
        fusion=tagger.fusion.version,
        heard=sorted(tagger.sources),
        settings=tagger.settings.model_dump(),
        share_with_broader=workspace.tier.share_with_broader,
        version=folder.version,
        **identity_of(workspace.taxonomy),
    )
    rows_of = {name: RowsById(rows) for name, rows in tables.items()}

    def fuse(ids: list[str]) -> pa.Table:
        scorer = folder.once(make_scorer, workspace, concept_embeddings)
        seen = [id_ for id_ in ids if id_ not in blank]
        own = {name: rows.of(seen) for name, rows in rows_of.items()}
        rows = tag_images(own, of_ids(decided, ids), tagger, workspace.taxonomy, scorer)
        return with_tempered(rows, strange, len(scorer.concept_ids))

    return Rows(stamped(wanted, strange), in_batches(_IMAGES_AT_A_TIME, fuse))


def _blank(images: pa.Table) -> frozenset[str]:
    """The images of one colour all over; rows of an older version say nothing of that."""
    if "notes" not in images.column_names:
        return frozenset()
    rows = images.select(["id", "notes"]).to_pylist()
    return frozenset(row["id"] for row in rows if BLANK in (row["notes"] or ()))


def _made(table: str, rows: pa.Table | None) -> pa.Table:
    if rows is None:
        raise MissingPartition(f"there is no {table} of this folder: materialise {table} first")
    return rows


@dg.asset_check(asset="tags", description="Every region that a tag names is a region of its image.")
def tags_name_regions_that_exist(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    with lake.connect(skip_damaged=True) as sql:
        known = (
            "grounded_regions"
            if "grounded_regions" in lake.tables()
            else "(select '' as folder, '' as id, '' as region_id)"
        )
        named, strangers = count_lacking(
            sql,
            "(select folder, id, unnest(region_ids) as region_id from tags where state = 'machine')",
            known,
            "folder, id, region_id",
        )
    return checked(
        "regions that tags name",
        named,
        strangers,
        right="are regions of their image",
        fault="are no regions of their image; run its folder again",
    )


@dg.asset_check(asset="tags", description="Probabilities lie in 0..1 and fall with the rank.")
def tags_are_ranked_by_probability(vistag: VistagResource) -> dg.AssetCheckResult:
    with vistag.open().lake.connect(skip_damaged=True) as sql:
        [(tags_of_machine, wrong)] = sql.execute(
            "select count(*), count(*) filter (probability not between 0 and 1 or probability > better) "
            "from (select probability, lag(probability) over "
            "(partition by folder, id, needs_review order by rank) as better from tags where state = 'machine')"
        ).fetchall()
    return checked(
        "tags",
        tags_of_machine,
        wrong,
        right="have a probability within 0..1 that falls with the rank",
        fault="have a probability outside 0..1, or above that of a better rank",
    )
