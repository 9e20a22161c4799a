"""Images that people have to look at before they are used, by the rules of a policy over what the lake knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.lake import Lake
from resources.lake.rows_by_id import RowsById
from resources.previews import Preview, preview
from resources.workspace import VistagResource, Workspace
from vistag_assets.folder_asset import Folder, Rows, folder_asset, in_batches
from vistag_assets.lineage import answered, by_id, gathered, rows_by_id
from vistag_assets.partitions import PREVIEWED_IMAGES
from vistag_assets.tags.flag_policy import Policy, read_policy
from vistag_assets.tags.flagging import Seen, flags_of
from vistag_assets.whole_image.familiarity import unfamiliar

_IMAGES_AT_A_TIME = 256
_FILE_TEXTS = ("file_title", "file_description")
_FILE_LISTS = ("keywords", "keyword_paths")
_SEEN = ("tags", "grounded_regions", "ocr_text", "captions", "descriptions")


def policy_of(workspace: Workspace) -> Policy:
    """Raises PolicyError."""
    assert workspace.tier.flags  # `needs`
    return read_policy(Path(workspace.tier.flags), workspace.taxonomy)


def _flagged(folder: Folder) -> Preview:
    """The first flagged images, and why."""
    rows = rows_by_id(folder.lake.read("flags", folder.key))
    pictures = folder.thumbnails(list(rows)[:PREVIEWED_IMAGES])
    return preview(
        ["image", "flag", "because"],
        [
            (picture, row["rule"], "; ".join(row["because"]))
            for id_, picture in pictures.items()
            for row in rows[id_]
        ],
    )


def _counts(folder: Folder) -> dict[str, int]:
    rules = Counter(folder.lake.read("flags", folder.key, ["rule"])["rule"].to_pylist())
    return {f"flagged_{rule}": images for rule, images in sorted(rules.items())}


@folder_asset("Applying the policy", needs="flags", version=1, preview=_flagged, counts=_counts)
def flags(
    folder: Folder,
    images: pa.Table,
    proxies: Annotated[pa.Table, "id"],
    tags: pa.Table,
    grounded_regions: pa.Table | None,
    ocr_text: pa.Table | None,
    captions: pa.Table | None,
    descriptions: pa.Table | None,
    familiarity: pa.Table | None,
) -> Rows:
    """No model is needed for it. Raises PolicyError."""
    policy = folder.once(policy_of, folder.workspace)
    made = dict(zip(_SEEN, (tags, grounded_regions, ocr_text, captions, descriptions), strict=True))
    tables = {name: rows for name, rows in made.items() if rows is not None}
    words = {row["id"]: _of_file(row) for row in images.to_pylist()}
    strange = unfamiliar(familiarity)
    wanted = gathered(
        proxies,
        [
            *(answered(rows) for rows in tables.values()),
            by_id({id_: fingerprint(words=said) for id_, said in words.items()}),
            by_id(strange),
        ],
        policy=policy.fingerprint,
        version=folder.version,
    )
    rows_of = {name: RowsById(rows) for name, rows in tables.items()}

    def apply(ids: list[str]) -> list[dict[str, Any]]:
        own = {name: rows_by_id(rows.of(ids)) for name, rows in rows_of.items()}
        return [
            {
                "id": id_,
                "rule": flag.rule,
                "reason": flag.reason,
                "because": flag.because,
                "region_ids": flag.region_ids,
                "bbox": flag.bbox,
            }
            for id_ in ids
            for flag in flags_of(_seen(id_, own, words.get(id_, {}), strange.get(id_)), policy)
        ]

    return Rows(wanted, in_batches(_IMAGES_AT_A_TIME, apply))


def _of_file(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """What people wrote into the file, of a row of `images`; those of an older home lack columns."""
    flat = [word for name in _FILE_LISTS for word in row.get(name) or ()]
    keywords = [part for word in flat for part in ([word] if isinstance(word, str) else word)]
    return {"keywords": keywords, "texts": [row[name] for name in _FILE_TEXTS if row.get(name)]}


def _seen(
    id_: str,
    own: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    said: Mapping[str, Sequence[str]],
    strange: str | None,
) -> Seen:
    def rows(table: str) -> Sequence[Mapping[str, Any]]:
        return own.get(table, {}).get(id_, ())

    return Seen(
        tags=rows("tags"),
        grounded_regions=rows("grounded_regions"),
        ocr_text=rows("ocr_text"),
        caption=" ".join(row["caption"] or "" for row in rows("captions")),
        description=". ".join(
            text for row in rows("descriptions") for text in (row["title"], row["description"]) if text
        ),
        file_words=(*said.get("texts", ()), *said.get("keywords", ())),
        keywords=said.get("keywords", ()),
        unfamiliar=strange,
    )


def flagged_images(lake: Lake) -> int:
    """How many images of the lake a policy flags."""
    if not lake.folders("flags"):
        return 0
    with lake.connect(skip_damaged=True, tables=["flags"]) as sql:
        [(images,)] = sql.execute("select count(distinct (folder, id)) from flags").fetchall()
    return int(images)


@dg.asset_check(
    asset="flags", description="How many images the policy flags, by rule. A flag warns and stops nothing."
)
def images_are_flagged(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    images, rules = flagged_images(lake), list[tuple[str, int]]()
    if images:
        with lake.connect(skip_damaged=True, tables=["flags"]) as sql:
            rules = sql.execute("select rule, count(*) from flags group by all order by all").fetchall()
    told = ", ".join(f"{rule} {count:,}" for rule, count in rules)
    return dg.AssetCheckResult(
        passed=not images,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{images:,} images are flagged: {told}." if images else "No image is flagged.",
        metadata={"flagged": images, **{f"flagged_{rule}": count for rule, count in rules}},
    )
