"""How much of the text that is known to stand in the pictures was read."""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.metrics.intervals import Interval, ratio_interval


@dataclass(frozen=True, slots=True)
class SignRecall:
    """What `sign_recall` found. `recall` and its interval are None without signs, `precision` without lines."""

    recall: float | None  # 0..1
    ci95: Interval | None
    found: int  # signs
    support: int  # signs
    precision: float | None  # 0..1, of the lines
    lines: int  # on the images that are evaluated


def normalised(text: str) -> str:
    """Upper case, only letters and digits: what a sign says, however it is set."""
    return re.sub(r"[\W_]", "", text).upper()


def sign_recall(signs: pa.Table, lines: pa.Table, images: list[str] | None = None) -> SignRecall:
    """Share of the signs whose text was read, and share of the lines read that belong to a sign.

    Texts are compared normalised (upper case, only letters and digits), whole and exactly. A sign is found if
    one line of its image says the same, or if the lines whose centre lies within its box do when they are
    joined in their order: an engine may split a sign into lines. A line belongs to a sign if its centre lies
    within the box of one.

    Args:
        signs: id, text, bbox (xywh relative to the upright image, 0..1), one row a sign. A sign without a
            letter or digit is not counted.
        lines: id, line (reading order), text, bbox as above: the columns of `ocr_text`.
        images: the ids that are evaluated, also those without a sign; None: those with one.

    Returns:
        Recall and precision with their support.
    """
    signs_of = _by_id(signs.select(["id", "text", "bbox"]))
    lines_of = _by_id(lines.select(["id", "line", "text", "bbox"]).sort_by("line"))
    evaluated = sorted(set(signs_of if images is None else images))
    per_image: list[tuple[int, int]] = []
    read = read_on_signs = 0
    for id_ in evaluated:
        here = [sign for sign in signs_of.get(id_, []) if normalised(sign["text"])]
        answer = lines_of.get(id_, [])
        if here:
            per_image.append((sum(_found(sign, answer) for sign in here), len(here)))
        read += len(answer)
        read_on_signs += sum(
            any(_centre_within(line["bbox"], sign["bbox"]) for sign in here) for line in answer
        )
    counts = np.array(per_image, np.int64).reshape(-1, 2)
    found, support = (int(total) for total in counts.sum(axis=0))
    return SignRecall(
        recall=found / support if support else None,
        ci95=ratio_interval(counts),
        found=found,
        support=support,
        precision=read_on_signs / read if read else None,
        lines=read,
    )


def _by_id(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.to_pylist():
        grouped[row["id"]].append(row)
    return grouped


def _found(sign: dict[str, Any], lines: list[dict[str, Any]]) -> bool:
    wanted = normalised(sign["text"])
    if any(normalised(line["text"]) == wanted for line in lines):
        return True
    inside = [line["text"] for line in lines if _centre_within(line["bbox"], sign["bbox"])]
    return normalised("".join(inside)) == wanted


def _centre_within(line: list[float], box: list[float]) -> bool:
    x, y = line[0] + line[2] / 2, line[1] + line[3] / 2
    return box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]
