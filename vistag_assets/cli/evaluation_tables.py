"""What `vistag evaluate` shows in a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from evaluation.evaluate import FileEvaluation
from evaluation.figures_json import file_evaluation_json
from evaluation.metrics.intervals import Interval
from evaluation.metrics.recall_at_k import HEADLINE_K
from vistag_assets.cli import console

SHOWN_LOST_TAGS = 5


def grounding_table(figures: Mapping[str, Any]) -> Table:
    """Micro recall@IoU by band, from the JSON of a report."""
    columns = ("@0.5", "@0.75", "@0.5:0.95", "95 %", "macro", "mAP", "support")
    rows = {
        band: [
            *(f"{by_iou[iou]['micro']:.3f}" for iou in ("0.5", "0.75", "0.5:0.95")),
            console.shown_interval(by_iou["0.5"]),
            f"{by_iou['0.5']['macro']:.3f}",
            f"{figures['grounding_map'][band]['0.5:0.95']:.3f}",
            f"{by_iou['0.5']['support']:,}",
        ]
        for band, by_iou in figures["grounding_recall"].items()
    }
    return console.band_table("Recall@IoU of true boxes; interval and macro at 0.5", columns, rows)


def show_evaluation(found: FileEvaluation) -> None:
    """What `vistag evaluate` prints: the tail first, then what has to be known to read the figures."""
    figures = file_evaluation_json(found)
    console.out.print(console.recall_table(figures))
    console.out.print()
    if found.grounding:
        console.out.print(grounding_table(figures))
        console.out.print()
    for line in _remarks(found):
        console.say(line)


def _remarks(found: FileEvaluation) -> Iterator[str]:
    tags = found.tags
    yield f"{tags.images:,} images, {tags.ranked_concepts:,} tags compete for the first k of an image."
    if tags.gap:
        yield f"Gap, recall@10 of all tags minus that of the tail: {_points(tags.gap.value, tags.gap.ci95)}"
    if found.grounding and found.grounding.gap:
        yield f"Gap, recall at IoU 0.5 of all boxes minus that of the tail: {_points(*found.grounding.gap)}"
    if tags.federated:
        micro = {figure.band: figure.micro for figure in tags.federated.recall if figure.k == HEADLINE_K}
        among = ", ".join(f"{band} {micro[band]:.3f}" for band in ("tail", "overall") if band in micro)
        yield f"Recall@10 in the table is among all suggestions; among the tags that were looked for: {among}."
        plain = tags.federated.plain_mean_average_precision["overall"]
        yield f"mAP in the table is over what was looked for; with all else taken as absent: {plain:.3f}."
    lost = [row["concept_id"] for row in tags.tags.to_pylist() if row["band"] == "tail" and not row["found"]]
    if lost:
        shown = ", ".join(lost[:SHOWN_LOST_TAGS]) + (", ..." if len(lost) > SHOWN_LOST_TAGS else "")
        yield f"Tail tags never among the first ten: {len(lost):,} of {tags.bands['tail'].tags:,} ({shown})"
    cut = tags.f1_cut
    taken = f"the first {cut.first}" if cut.first else f"those with a score of at least {cut.min_score:g}"
    yield f"F1 (micro) takes of each image {taken} as predicted. mAP is the mean over tags."
    if found.grounding:
        yield "mAP of boxes is the mean over tags and IoU 0.5:0.95."
    if found.areas:
        shown = ", ".join(
            f"{name} {of.mean_average_precision:.3f} ({of.support:,})" for name, of in found.areas.items()
        )
        yield f"mAP of regions by area, IoU 0.5:0.95 (true regions): {shown}."
    if tags.zero_support_tags:
        yield f"Tags on no image: {len(tags.zero_support_tags):,}; no figure includes them."
    yield from found.remarks


def _points(value: float, ci95: Interval | None) -> str:
    interval = f" (95 %: {100 * ci95.low:+.1f} to {100 * ci95.high:+.1f})" if ci95 else ""
    return f"{100 * value:+.1f} points{interval}"
