"""The lines of text in each image, in reading order."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from resources.checked import checked
from resources.models.encoders import prefetch
from resources.models.ocr import TextLine
from resources.previews import Preview, preview
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Batch, Folder, Proxies, Rows, folder_asset
from vistag_assets.lineage import derived
from vistag_assets.partitions import PREVIEWED_IMAGES

MAX_TEXT_LINES = 8
MIN_TEXT_CONFIDENCE = 0.5
"""Of the lines that a VLM is told of."""
_BATCH_IMAGES = 16
_MOST_THREADS = 8


def _texts(folder: Folder) -> Preview:
    """The first images that have text."""
    texts: dict[str, list[str]] = {}
    for row in folder.lake.read("ocr_text", folder.key, ["id", "text", "confidence"]).to_pylist():
        texts.setdefault(row["id"], []).append(f"{row['text']} ({row['confidence']:.2f})")
    first = list(texts)[:PREVIEWED_IMAGES]
    pictures = folder.thumbnails(first)
    return preview(["image", "text"], [(pictures[id_], "; ".join(texts[id_])) for id_ in first])


def _counts(folder: Folder) -> dict[str, int]:
    ids = folder.lake.read("ocr_text", folder.key, ["id"])["id"]
    return {"images_with_text": pc.count_distinct(ids).as_py()}


@folder_asset("Reading text", "read", role="ocr", kinds={"onnx"}, version=1, preview=_texts, counts=_counts)
def ocr_text(folder: Folder, proxies: Proxies) -> Rows:
    engine, open_image = folder.workspace.ocr, folder.opener(proxies)
    # one image a thread: the models run in the thread that calls them
    threads = min(_MOST_THREADS, os.cpu_count() or 1)

    def compute(ids: list[str]) -> Iterator[Batch]:
        read = prefetch(ids, lambda id_: engine.read(open_image(id_)), workers=threads, depth=2 * threads)
        while batch := list(islice(read, _BATCH_IMAGES)):
            yield Batch([id_ for id_, _ in batch], text_rows(batch))

    return Rows(derived(proxies, engine=engine.fingerprint, version=folder.version), compute, engine.load)


def text_rows(found: Sequence[tuple[str, Sequence[TextLine]]]) -> list[dict[str, Any]]:
    """Rows of `ocr_text`, lines numbered from 0 for each id."""
    return [
        {"id": id_, "line": number, "text": line.text, "confidence": line.confidence, "bbox": line.box_xywh}
        for id_, lines in found
        for number, line in enumerate(lines)
    ]


def text_lines(ocr_text: pa.Table | None) -> dict[str, tuple[str, ...]]:
    """The first lines that were read with some confidence, in reading order; none without the table."""
    lines: dict[str, list[str]] = {}
    if ocr_text is not None:
        for row in ocr_text.sort_by("line").to_pylist():
            if row["confidence"] >= MIN_TEXT_CONFIDENCE and row["text"].strip():
                lines.setdefault(row["id"], []).append(" ".join(row["text"].split()))
    return {id_: tuple(own[:MAX_TEXT_LINES]) for id_, own in lines.items()}


@dg.asset_check(asset="ocr_text", description="Confidences and boxes lie within 0..1.")
def text_lines_are_within_bounds(vistag: VistagResource) -> dg.AssetCheckResult:
    lake = vistag.open().lake
    lines = wrong = 0
    if lake.folders("ocr_text"):
        with lake.connect(skip_damaged=True) as sql:
            [(lines, wrong)] = sql.execute(
                "select count(*), count(*) filter (not (confidence between 0 and 1 and bbox[1] between 0 and 1 "
                "and bbox[2] between 0 and 1 and bbox[1] + bbox[3] <= 1.0001 and bbox[2] + bbox[4] <= 1.0001)) "
                "from ocr_text"
            ).fetchall()
    return checked(
        "lines of text",
        lines,
        wrong,
        right="have a confidence and a box within 0..1",
        fault="have a confidence or a box outside 0..1",
    )
