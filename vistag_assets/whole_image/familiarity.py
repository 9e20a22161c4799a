"""Which images are unlike those that the tier was made for: their probabilities are drawn towards the prior."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from resources.fingerprint import fingerprint
from resources.lake import Lake
from resources.models.encoders.heads import EXPECTED_TAGS
from resources.models.familiarity import REASONS, VERSION, tempered, texture, the_line
from resources.previews import Preview, preview
from vistag_assets.folder_asset import Folder, Proxies, Rows, folder_asset, in_batches_of_images
from vistag_assets.lineage import by_id, column_by_id, derived
from vistag_assets.partitions import PREVIEWED_IMAGES

_IMAGES_AT_A_TIME = 16


def _strange(folder: Folder) -> Preview:
    """The first unfamiliar images."""
    reasons = unfamiliar(folder.lake.read("familiarity", folder.key))
    pictures = folder.thumbnails(list(reasons)[:PREVIEWED_IMAGES])
    return preview(["image", "why"], [(picture, reasons[id_]) for id_, picture in pictures.items()])


def _counts(folder: Folder) -> dict[str, int]:
    return {"unfamiliar": len(unfamiliar(folder.lake.read("familiarity", folder.key)))}


@folder_asset(
    "Comparing with what the tier knows",
    needs="made_for",
    kinds={"numpy"},
    version=1,
    preview=_strange,
    counts=_counts,
)
def familiarity(folder: Folder, proxies: Proxies) -> Rows:
    made_for = folder.workspace.tier.made_for
    assert made_for  # `needs`

    def compare(ids: list[str], images: Sequence[Image.Image]) -> list[dict[str, Any]]:
        strangeness = the_line().strangeness(np.stack([texture(image) for image in images]), made_for)
        return [
            {"id": id_, "strangeness": float(far), "unfamiliar": REASONS[made_for] if far > 0 else None}
            for id_, far in zip(ids, strangeness, strict=True)
        ]

    wanted = derived(proxies, made_for=made_for, line=VERSION, version=folder.version)
    return Rows(wanted, in_batches_of_images(_IMAGES_AT_A_TIME, folder.opener(proxies), compare))


def unfamiliar(familiarity: pa.Table | None) -> dict[str, str]:
    """Id -> why, of the unfamiliar images; none without the table."""
    rows = familiarity.select(["id", "unfamiliar"]).to_pylist() if familiarity else []
    return {row["id"]: row["unfamiliar"] for row in rows if row["unfamiliar"]}


def stamped(wanted: pa.Table, reasons: Mapping[str, str]) -> pa.Table:
    """(id, fingerprint), that of unfamiliar images by their reason too: the others stay as without any of this."""
    of = {
        id_: fingerprint(source=own, unfamiliar=reasons[id_]) if id_ in reasons else own
        for id_, own in column_by_id(wanted, "fingerprint").items()
    }
    return by_id(of)


def with_tempered(rows: pa.Table, ids: Collection[str], concepts: int) -> pa.Table:
    """Rows with `id` and `probability`, the probabilities of some images tempered in a vocabulary of so many concepts."""
    strange = np.isin(rows["id"].to_numpy(zero_copy_only=False), list(ids))
    if not strange.any():
        return rows
    given = rows["probability"].to_numpy()
    prior = min(EXPECTED_TAGS / max(concepts, 1), 0.5)
    place = rows.schema.get_field_index("probability")
    values = pa.array(np.where(strange, tempered(given, prior), given), rows.schema.field(place).type)
    return rows.set_column(place, rows.schema.field(place), values)


def what_is_unfamiliar(lake: Lake, keys: Sequence[str]) -> list[str]:
    """What a run says of the images of some folders that are unlike what the tier was made for; nothing where none is."""
    tables = [table for key in keys if (table := lake.read_or_none("familiarity", key)) is not None]
    strange, images = sum(len(unfamiliar(table)) for table in tables), sum(table.num_rows for table in tables)
    if not strange:
        return []
    of = f"{strange:,} of {images:,} pictures {'is' if strange == 1 else 'are'} unlike"
    return [f"{of} what this tier was made for: read ranks, not probabilities."]
