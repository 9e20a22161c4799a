"""Small files of LVIS's shape: a ground truth, and results for it."""

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lvis() -> Row:
    """Two images; vases are rare, bowls frequent; in image 2 somebody looked for a bowl, in vain."""
    return {
        "images": [
            {
                "id": 1,
                "coco_url": "http://images.cocodataset.org/val2017/000000000001.jpg",
                "width": 100,
                "height": 80,
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [7],
            },
            {
                "id": 2,
                "coco_url": "http://images.cocodataset.org/val2017/000000000002.jpg",
                "width": 100,
                "height": 80,
                "neg_category_ids": [8],
                "not_exhaustive_category_ids": [],
            },
        ],
        "categories": [
            {"id": 7, "name": "vase", "frequency": "r"},
            {"id": 8, "name": "bowl", "frequency": "f"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 20], "segmentation": [[0] * 6]},
            {"id": 2, "image_id": 1, "category_id": 8, "bbox": [50, 40, 40, 30], "iscrowd": 1},
            {"id": 3, "image_id": 2, "category_id": 7, "bbox": [0, 0, 50, 50]},
        ],
    }


def results() -> list[Row]:
    return [
        {"image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 20], "score": 0.9},
        {"image_id": 1, "category_id": 7, "bbox": [11, 10, 20, 20], "score": 0.4},
        {"image_id": 2, "category_id": 8, "bbox": [60, 40, 30, 30], "score": 0.5},
    ]
