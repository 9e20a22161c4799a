"""Files that mutation found to break a reader: each is told in a sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.readers import UnusableFile, read_predictions, read_truth
from evaluation.readers.ground_truth import read_ground_truth

NESTED = b"[" * 200_000
CORPUS = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 3, "name": "bowl", "concept_id": "bowl"}],
}


def masked(size: list[int], counts: object) -> bytes:
    annotation = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
    return json.dumps(
        CORPUS | {"annotations": [annotation | {"segmentation": {"size": size, "counts": counts}}]}
    ).encode()


@pytest.mark.parametrize(
    ("name", "read", "content"),
    [
        ("t.json", read_truth, b'{"images": ' + NESTED),
        ("metadata.jsonl", read_truth, NESTED),
        ("t.csv", read_truth, b'{"a": ' + NESTED),
        ("p.csv", read_predictions, NESTED),
        ("p.json", read_predictions, NESTED),
        ("t.json", read_truth, b"\x1f\x8b\x08"),
        ("t.csv", read_truth, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03abc"),
        ("t.csv", read_truth, b"PAR1 cut"),
        ("t.csv", read_truth, b"\xff\xfe[\x00\x00\xd8"),
        ("t.json", read_ground_truth, b"\xff\xfe{"),
        ("p.json", read_predictions, b"\xff\xfe["),
        ("t.parquet", read_truth, b"PAR1 and no footerPAR1"),
        ("metadata.parquet", read_truth, b"PAR1 and no footerPAR1"),
        ("p.parquet", read_predictions, b"PAR1"),
        ("t.json", read_ground_truth, masked([2**70, 64], [1])),
        ("t.json", read_ground_truth, masked([48, 64], [2**40])),
    ],
)
def test_a_broken_file_is_told_by_name(
    name: str, read: Callable[[Path], object], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableFile, match=name):
        read(tmp_path / name)
