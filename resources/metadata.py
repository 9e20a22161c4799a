"""What Dagster shows of an asset: column schemas, counts, and previews in Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import pyarrow as pa
from PIL import Image

from resources.lake import UpdateStats
from resources.markdown import markdown_table, plain_text

OWNERS = ["team:vistag"]
THUMBNAIL_PX = 96
PREVIEW_BYTES = 48 * 1024
CELL_CHARACTERS = 400

COLUMNS: Mapping[str, str] = {
    "id": "first 32 hex digits of the SHA-256 of the file's bytes",
    "fingerprint": "what the row was computed by; a stage computes the rows whose fingerprint is missing",
    "path": "of the file, relative to the library",
    "also_at": "other names of the same content in this folder",
    "bytes": "size of the file",
    "width": "pixels",
    "height": "pixels",
    "format": "of the file: JPEG, PNG, ...",
    "mode": "of the file's pixels, as Pillow names it: RGB, L, CMYK, ...",
    "frames": "more than 1 in an animation, of which the first is used",
    "modified_at": "of the file, as its disk says",
    "taken_at": "from EXIF, local time",
    "phash": "64-bit DCT hash of the picture",
    "code": "a short stable word for the reason",
    "embedding": "unit length",
    "concept_id": "of the vocabulary",
    "rank": "1 = best, ties by concept_id",
    "cosine": "of the angle between picture and concept, -1..1",
    "logit": "raw score of the encoder's own head",
    "score": "sigmoid or softmax of the logit, 0..1",
    "probability": "calibrated, 0..1; the score itself where the encoder has no calibration",
    "line": "reading order, from 0",
    "text": "what was read",
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
    "prompt": "exactly what the model was asked",
    "chunk": "which of the image's prompts, from 0",
    "inherited_from": "the narrower concept that lent the score",
    "counts": "COCO's compressed run-length encoding of the mask",
    "area": "pixels of the proxy",
    "area_share": "of the image, 0..1",
    "box_fill": "share of the box that the mask covers, 0..1",
    "method": "the segmenter's family; `box` where it found nothing and the box was filled",
    "masked_embedding": "of the region without its background, unit length; null where it has no mask",
    "verdict": "confirmed, unsure or rejected, by the probability",
    "caption": "one sentence",
    "tokens": "of the answer",
    "mean_logprob": "of the answer's own tokens, natural logarithm",
    "entropy": "mean over the answer's own tokens of the entropy over the 20 most probable, nats",
    "keywords": "what the model answered to the tags prompt; concept_id where it is a label of the vocabulary",
    "problems": "what is wrong with the text, in short stable words",
    "title": "of the catalogue text",
    "description": "the catalogue text",
    "claims": "flags: uncited, unknown_region, speculation, unsupported:<noun>",
    "tags": "as the text names them",
    "words": "of the description",
    "json": "title, description and claims by the JSON Schema; null where there is nothing to say",
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
    "instance_id": "the same for the concepts of one thing",
    "band": "head, body, tail or zero",
    "lvis_band": "rare (<= 10 images), common (<= 100), frequent or zero",
    "k": "the best tags of each image that count",
    "iou": "from which overlap of two regions on one is found: 0.5, 0.75, or the mean over 0.5:0.95",
    "micro": "recall over all true tags",
    "macro": "mean recall over tags",
    "ci95_low": "of micro: lower end of the 95 % interval, bootstrapped over images",
    "ci95_high": "of micro: upper end of that interval",
    "ceiling": "the largest micro recall that k allows",
    "support": "true tags",
    "mean_average_precision": "mean over the tags of the band, 0..1",
    "f1_micro": "over all true tags of the band, 0..1",
    "f1_macro": "mean over the tags of the band, 0..1",
    "run": "time and the first digits of the id of Dagster's run",
    "created_at": "when it was evaluated",
    "tier": "that the models are of",
    "option": "how much of the graph ran, A1 to B3",
    "models": "all that had a part in the run",
    "taxonomy": "fingerprint of the vocabulary",
    "corpus": "fingerprint of images, true tags and evaluated vocabulary",
    "baseline": "the run it was held against; null where there was none",
    "accepted_by": "check or person; null where rare tags were lost",
    "tag_recall": "the rows of that table",
    "grounding_recall": "the rows of that table",
    "ranks": "of every true tag; null where it was not suggested",
    "tag_recall_overall": "micro recall@10 over all tags",
    "tag_recall_tail": "micro recall@10 of rare tags",
    "grounding_recall_overall": "of all true regions at IoU 0.5",
    "grounding_recall_tail": "of true regions of rare tags at IoU 0.5",
    "tail_gain": "tag_recall_tail minus that of A2, image by image",
    "tail_gain_ci95_low": "lower end of its 95 % interval, bootstrapped over images",
    "tail_gain_ci95_high": "upper end of that interval",
    "seconds_per_image": "of all stages that the option needs",
}
"""What a column means in most tables that have it."""
ANY_SIZE = 1
"""The length of a vector in a schema that does not know it; a tier's encoder has one."""
_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}


def column_schema(schema: pa.Schema, **own: str) -> dict[str, dg.TableSchema]:
    """Metadata that lists the columns of a table of the lake; `own`: what a column means in this table only."""
    described = {**COLUMNS, **own}
    columns = [
        dg.TableColumn(field.name, _type_name(field.type), description=described.get(field.name))
        for field in schema
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(field.name for field in kind)}>"
    if pa.types.is_fixed_size_list(kind):
        length = "dimension" if kind.list_size == ANY_SIZE else kind.list_size
        return f"{_type_name(kind.value_type)}[{length}]"
    if pa.types.is_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    return _FLOATS.get(str(kind), str(kind))


def row_count(rows: int) -> dict[str, int]:
    """The rows of one partition, as Dagster's own figure and by their plain name."""
    return {"dagster/partition_row_count": rows, "rows": rows}


def update_counts(stats: UpdateStats, rows: int) -> dict[str, int | dg.PathMetadataValue]:
    """What an update left in a partition: its `rows`, and how many images were kept, computed, resumed, dropped.

    And where a damaged file went, if there was one.
    """
    counts = {name: count for name, count in asdict(stats).items() if name != "quarantined"}
    return row_count(rows) | counts | moved_away(stats.quarantined)


def moved_away(quarantined: Path | None) -> dict[str, dg.PathMetadataValue]:
    """Where the damaged file of a partition went, if it was damaged."""
    return {} if quarantined is None else {"quarantined": dg.MetadataValue.path(quarantined)}


Preview = dict[str, dg.MarkdownMetadataValue]
"""What a preview adds to the metadata of a partition: an entry, or none."""


class Markdown(str):
    """Text that is Markdown already; other cells of a preview are escaped."""


def thumbnail(image: Image.Image, side_px: int = THUMBNAIL_PX) -> Markdown:
    """A small picture with its data in it; Dagster's UI shows those."""
    return Markdown(f"![]({thumbnail_uri(image, side_px)})")


def thumbnail_uri(image: Image.Image, side_px: int = THUMBNAIL_PX) -> str:
    """A small JPEG as a data URI; `side_px`: its longer side."""
    small = image.copy()
    small.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def preview(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Preview:
    """The entry `preview`: a table to look at, none without rows. Long cells are cut, and rows left out that would
    make it larger than PREVIEW_BYTES: Dagster keeps it in its event log for good.
    """
    kept: list[list[str]] = []
    room = PREVIEW_BYTES
    for row in rows:
        cells = [_cell(value) for value in row]
        room -= sum(len(cell.encode()) for cell in cells)
        if room < 0:
            break
        kept.append(cells)
    return {"preview": dg.MetadataValue.md(markdown_table(titles, kept))} if kept else {}


def _cell(value: object) -> str:
    if isinstance(value, Markdown):
        return value
    text = str(value)
    return plain_text(text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…")
