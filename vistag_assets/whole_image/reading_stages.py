"""What is read in the pictures of one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa

from resources.images import open_proxy
from resources.lake import UpdateStats, update_partition, with_empty_ids
from resources.models.encoders import prefetch
from resources.models.ocr import TextLine
from resources.workspace import Workspace
from vistag_assets.lineage import column_by_id, derived
from vistag_assets.progress import Meter

# To be raised when the stage would compute other rows from the same inputs.
OCR_VERSION = 1

OCR_TEXT = pa.schema(
    [
        ("id", pa.string()),
        ("line", pa.int16()),
        ("text", pa.string()),
        ("confidence", pa.float32()),
        ("bbox", pa.list_(pa.float32(), 4)),
        ("fingerprint", pa.string()),
    ]
)
_BATCH_IMAGES = 16
_MOST_THREADS = 8


def read_text(workspace: Workspace, key: str, meter: Meter) -> UpdateStats | None:
    """Bring `ocr_text` of a folder up to date with its proxies.

    None where the tier names no OCR engine: rows that another tier left are removed, so that nothing that
    follows takes them for this tier's.
    """
    if workspace.tier.ocr is None:
        workspace.lake.delete("ocr_text", key)
        return None
    engine, home_root = workspace.ocr, workspace.home.root
    proxies = workspace.lake.read("proxies", key, ["id", "path", "fingerprint"])
    path_of = column_by_id(proxies, "path")
    wanted = derived(proxies, engine=engine.fingerprint, version=OCR_VERSION)
    wanted_fingerprint = column_by_id(wanted, "fingerprint")
    # one image a thread: the models run in the thread that calls them
    threads = min(_MOST_THREADS, os.cpu_count() or 1)

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        engine.load()
        read = prefetch(
            ids,
            lambda id_: engine.read(open_proxy(home_root, path_of[id_])),
            workers=threads,
            depth=2 * threads,
        )
        while True:
            with meter.timed():
                batch = list(islice(read, _BATCH_IMAGES))
            if not batch:
                return
            yield text_rows(batch, wanted_fingerprint)

    return update_partition(
        workspace.lake, "ocr_text", key, wanted, OCR_TEXT, compute, on_progress=meter.folder()
    )


def text_rows(found: Sequence[tuple[str, Sequence[TextLine]]], fingerprint_of: dict[str, str]) -> pa.Table:
    """Rows of `ocr_text`, lines numbered from 0 for each id; ids without a line are named as empty."""
    rows = [
        {
            "id": id_,
            "line": number,
            "text": line.text,
            "confidence": line.confidence,
            "bbox": line.box_xywh,
            "fingerprint": fingerprint_of[id_],
        }
        for id_, lines in found
        for number, line in enumerate(lines)
    ]
    empty = {id_: fingerprint_of[id_] for id_, lines in found if not lines}
    return with_empty_ids(pa.Table.from_pylist(rows, OCR_TEXT), empty)
