"""The phrases to look for in each image: likely tags, rare tags with a lower threshold, proposals of the VLM."""

from typing import Annotated, Any

import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.previews import Preview, preview
from vistag_assets.folder_asset import Folder, Rows, folder_asset, in_batches
from vistag_assets.lineage import answered, by_id, column_by_id, derived
from vistag_assets.regions.short_list import CandidateThresholds, short_lists

PREVIEWED_PHRASES = 12
_IMAGES_AT_A_TIME = 2048


def _phrases(folder: Folder) -> Preview:
    """What is looked for in the first images, rarer tags and proposals with their reason."""
    pictures = folder.thumbnails()
    phrases: dict[str, list[str]] = {id_: [] for id_ in pictures}
    for row in folder.rows_of("candidates", pictures, ["id", "phrase", "reason"]):
        phrases[row["id"]].append(row["phrase"] + ("" if row["reason"] == "score" else f" ({row['reason']})"))
    rows = [
        (picture, ", ".join(phrases[id_][:PREVIEWED_PHRASES]), len(phrases[id_]))
        for id_, picture in pictures.items()
    ]
    return preview(["image", f"first {PREVIEWED_PHRASES} phrases", "of"], rows)


def _by_reason(folder: Folder) -> dict[str, Any]:
    reasons = folder.lake.read("candidates", folder.key, ["reason"])["reason"]
    return {f"{row['values']}_candidates": row["counts"] for row in reasons.value_counts().to_pylist()}


@folder_asset("Listing candidates", needs="detector", version=1, preview=_phrases, counts=_by_reason)
def candidates(
    folder: Folder,
    tag_scores: Annotated[pa.Table, "id", "concept_id", "probability", "inherited_from", "fingerprint"],
    captions: Annotated[pa.Table, "id", "keywords", "fingerprint"] | None,
) -> Rows:
    thresholds, taxonomy = CandidateThresholds(), folder.workspace.taxonomy
    captioned = column_by_id(captions, "fingerprint") if captions else {}
    keywords = column_by_id(captions, "keywords") if captions else {}
    scored = derived(answered(tag_scores), bars=thresholds.stored_text, version=folder.version)
    wanted = by_id(
        {
            row["id"]: fingerprint(scores=row["fingerprint"], caption=captioned.get(row["id"]))
            for row in scored.to_pylist()
        }
    )
    listed = short_lists(tag_scores, keywords, taxonomy, thresholds)
    return Rows(wanted, in_batches(_IMAGES_AT_A_TIME, listed))
