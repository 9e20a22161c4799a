"""What Dagster shows of an asset: column schemas, counts, and previews in Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import pyarrow as pa
from PIL import Image

from resources.lake import UpdateStats
from resources.markdown import plain_text

OWNERS = ["team:vistag"]
THUMBNAIL_PX = 96

COLUMNS: Mapping[str, str] = {
    "id": "first 32 hex digits of the SHA-256 of the file's bytes",
    "fingerprint": "what the row was computed by; a stage computes the rows whose fingerprint is missing",
    "also_at": "other names of the same content in this folder",
    "width": "pixels",
    "height": "pixels",
    "taken_at": "from EXIF, local time",
    "phash": "64-bit DCT hash of the picture",
    "code": "a short stable word for the reason",
    "embedding": "unit length",
    "rank": "1 = best, ties by concept_id",
    "logit": "raw score of the encoder's own head",
    "score": "sigmoid or softmax of the logit, 0..1",
    "probability": "calibrated, 0..1; the score itself where the encoder has no calibration",
    "line": "reading order, from 0",
    "confidence": "of the engine, 0..1",
    "depth": "PNG of one channel of 16 bits: 0 is depth_min, 65535 depth_max",
    "depth_min": "in `unit`",
    "depth_max": "in `unit`",
    "unit": "metres; relative (large is far) or relative_inverse (large is near), scale and shift unknown",
    "bbox": "xywh relative to the upright image, 0..1",
    "lane": "fast or heavy",
    "reasons": "why the image asks for the heavy lane, strongest first",
    "priority": "weighted sum of the strengths of the reasons",
    "phrase": "what the detector is asked; a concept's preferred label",
    "reason": "what is wrong with the file and what to do",
    "needs_review": "nobody may rely on it before a person has looked",
    "region_id": "first 12 digits of the id and the number of the region, best first",
    "text_score": "of the phrase's tokens alone, 0..1",
    "prompt": "exactly what the text tower saw",
    "chunk": "which of the image's prompts, from 0",
    "inherited_from": "the narrower concept that lent the score",
    "counts": "COCO's compressed run-length encoding of the mask",
    "area": "pixels of the proxy",
    "area_share": "of the image, 0..1",
    "box_fill": "share of the box that the mask covers, 0..1",
    "method": "the segmenter's family; `box` where it found nothing and the box was filled",
    "masked_embedding": "of the region without its background, unit length; null where it has no mask",
    "verdict": "confirmed, unsure or rejected, by the probability",
    "mean_logprob": "of the answer's own tokens, natural logarithm",
    "entropy": "mean over the answer's own tokens of the entropy over the 20 most probable, nats",
    "keywords": "what the model answered to the tags prompt; concept_id where it is a label of the vocabulary",
    "claims": "flags: uncited, unknown_region, speculation, unsupported:<noun>",
    "valid": "whether the model's first answer fits the JSON Schema",
    "global_probability": "of tag_scores; null where that source is silent, as the other evidence is",
    "detector_score": "of the concept's best box, 0..1",
    "region_probability": "match of the concept's best box, 0..1",
    "vlm_logprob": "of the keyword among the VLM's keywords",
    "region_caption_score": "of the surest caption of a crop that names the concept, 0..1",
    "ocr_score": "confidence of the text line that names the concept, 0..1",
    "region_ids": "boxes behind the tag, best first",
    "state": "machine, or a person's: human, rejected",
    "ungrounded": "no box behind a tag that should have one",
    "fusion": "version of what fused the evidence",
    "band": "head, body, tail or zero",
    "lvis_band": "rare (<= 10 images), common (<= 100), frequent or zero",
    "micro": "recall over all true tags",
    "macro": "mean recall over tags",
    "ceiling": "the largest micro recall that k allows",
    "support": "true tags",
}


def column_schema(schema: pa.Schema, **own: str) -> dict[str, dg.TableSchema]:
    """Metadata that lists the columns of a table of the lake; `own`: what a column means in this table only."""
    described = {**COLUMNS, **own}
    columns = [
        dg.TableColumn(field.name, str(field.type), description=described.get(field.name)) for field in schema
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def row_count(rows: int) -> dict[str, int]:
    """The rows of one partition, as Dagster's own figure and by their plain name."""
    return {"dagster/partition_row_count": rows, "rows": rows}


def update_counts(stats: UpdateStats, rows: int) -> dict[str, int | str]:
    """What an update left in a partition: its `rows`, and how many images were kept, computed, resumed, dropped.

    And where a damaged file went, if there was one.
    """
    counts = {name: count for name, count in asdict(stats).items() if name != "quarantined"}
    return row_count(rows) | counts | moved_away(stats.quarantined)


def moved_away(quarantined: Path | None) -> dict[str, str]:
    """Where the damaged file of a partition went, if it was damaged."""
    return {} if quarantined is None else {"quarantined": str(quarantined)}


class Markdown(str):
    """A cell that is Markdown by intent; all others are text, which may come out of a picture or a model."""


def thumbnail(image: Image.Image, side_px: int = THUMBNAIL_PX) -> Markdown:
    """A small picture as Markdown with its data in it; Dagster's UI shows those."""
    return Markdown(f"![]({thumbnail_uri(image, side_px)})")


def thumbnail_uri(image: Image.Image, side_px: int = THUMBNAIL_PX) -> str:
    """A small JPEG as a data URI; `side_px`: its longer side."""
    small = image.copy()
    small.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; whatever would be markup, a link or an address in a cell that is no Markdown is escaped."""
    lines = [header, [Markdown("---")] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(cell: object) -> str:
    return cell if isinstance(cell, Markdown) else plain_text(str(cell))
