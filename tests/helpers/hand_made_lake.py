"""A home with a lake written by hand: three pictures, and something from every stage of the graph."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pycocotools import mask as coco

from resources.home import FolderRef, Home, Settings, write_settings
from resources.lake import with_empty_ids

FOLDER = "lib--a"
IDS = tuple(letter * 32 for letter in "abc")
HOSTILE = "<script>alert('x')</script>"
WIDTH, HEIGHT = 400, 300
_BOX = pa.list_(pa.float32(), 4)
_BY = "0" * 16
_UNIT = np.eye(1, 224, dtype=np.float16)[0]
"""An embedding of the bundled encoder's size."""
_EMBEDDING = pa.list_(pa.float16(), 224)
Row = dict[str, Any]


def rle(height: int, width: int, box: Sequence[int]) -> str:
    """COCO's compressed RLE of a rectangle, xywh in pixels."""
    mask = np.zeros((height, width), np.uint8, order="F")
    x, y, w, h = box
    mask[y : y + h, x : x + w] = 1
    counts: str = coco.encode(mask)["counts"].decode("ascii")
    return counts


def make_home(root: Path) -> Home:
    """Picture a: a bowl and a vase, both found, and a sign; b: a bowl that is not found; c: nothing true."""
    home = Home(root)
    home.register(FolderRef(FOLDER, "lib", str(root / "library"), "a"))
    write_settings(home, Settings(ground_truth_library="lib"))
    for id_ in IDS:
        path = root / "proxies" / id_[:2] / f"{id_}-1.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(ord(id_[0]))
        pixels = rng.integers(0, 255, (HEIGHT // 10, WIDTH // 10, 3), np.uint8)
        Image.fromarray(pixels).resize((WIDTH, HEIGHT)).save(path)
    for table, rows in tables().items():
        write(home, table, rows)
    home.ground_truth_path.write_text(json.dumps(ground_truth()))
    return home


def write(home: Home, table: str, rows: Sequence[Row]) -> None:
    found = pa.Table.from_pylist(list(rows)).append_column("fingerprint", pa.array([_BY] * len(rows)))
    if "bbox" in found.column_names:
        place = found.column_names.index("bbox")
        found = found.set_column(place, "bbox", found["bbox"].cast(_BOX))
    for column in ("embedding", "masked_embedding"):
        if column in found.column_names:
            place = found.column_names.index(column)
            found = found.set_column(place, column, found[column].cast(_EMBEDDING))
    silent = {id_: _BY for id_ in IDS if "id" in found.column_names and id_ not in found["id"].to_pylist()}
    home.lake.write(table, with_empty_ids(found, silent), FOLDER)


def ground_truth() -> Row:
    def region(image: int, category: int, box: Sequence[int], scale: int = 1) -> Row:
        size = [HEIGHT * scale, WIDTH * scale]
        big = [scale * side for side in box]
        return {
            "image_id": image,
            "category_id": category,
            "bbox": big,
            "segmentation": {"size": size, "counts": rle(*size, big)},
        }

    size = {"width": WIDTH, "height": HEIGHT}
    twice = {"width": 2 * WIDTH, "height": 2 * HEIGHT}  # the annotations may be of the original's size
    return {
        "images": [
            {"id": 1, "file_name": "a/1.jpg", **twice},
            {"id": 2, "file_name": "a/2.jpg", **size},
            {"id": 3, "file_name": "a/3.jpg", **size},
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("bowl", "vase", "spotlight"))],
        "annotations": [
            region(1, 0, [40, 60, 80, 60], scale=2),
            region(1, 1, [200, 60, 80, 120], scale=2),
            region(2, 0, [0, 0, 40, 40]),
        ],
        "image_tags": [{"image_id": 1, "category_id": 2}],
        "texts": [
            {"image_id": 1, "bbox": [400, 400, 200, 60], "text": "Gallery 5"},
            {"image_id": 2, "bbox": [10, 10, 90, 30], "text": "EXIT"},
        ],
    }


def tables() -> Mapping[str, list[Row]]:
    a, b, c = IDS
    bowl, vase = f"{a[:12]}-r1", f"{a[:12]}-r2"

    def tag(id_: str, concept: str | None, rank: int, probability: float, **more: Any) -> Row:
        silent = dict.fromkeys(("detector_score", "region_probability", "vlm_logprob", "ocr_score"))
        plain = {
            "inherited_from": None,
            "region_ids": [],
            "state": "machine",
            "needs_review": False,
            "ungrounded": False,
        }
        return {
            "id": id_,
            "concept_id": concept,
            "phrase": concept or HOSTILE,
            "rank": rank,
            "probability": probability,
            "global_probability": probability,
            **silent,
            **plain,
            **more,
        }

    def scores(id_: str, *concepts: str) -> list[Row]:
        return [
            {
                "id": id_,
                "concept_id": name,
                "rank": n,
                "cosine": 0.1 / n,
                "logit": -math.log(n),
                "score": 1 / (n + 1),
                "probability": 1 / (n + 1),
                "inherited_from": None,
            }
            for n, name in enumerate(concepts, start=1)
        ]

    words = [
        {"phrase": "bowl", "concept_id": "bowl", "logprob": -0.1},
        {"phrase": "odd thing", "concept_id": None, "logprob": -1.0},
    ]
    return {
        "images": [
            {"id": id_, "path": f"a/{n}.jpg", "also_at": [], "width": WIDTH, "height": HEIGHT}
            for n, id_ in enumerate(IDS, start=1)
        ],
        "rejects": [{"path": "a/broken.jpg"}],
        "proxies": [
            {"id": id_, "path": f"proxies/{id_[:2]}/{id_}-1.jpg", "width": WIDTH, "height": HEIGHT}
            for id_ in IDS
        ],
        "tag_scores": [
            *scores(a, "spotlight", "bowl", "vase"),
            *scores(b, "vase", "bowl"),
            *scores(c, "vase"),
        ],
        "captions": [
            {"id": a, "caption": "a bowl, two vases and a sword", "keywords": words, "problems": []},
            {"id": b, "caption": "a vessel", "keywords": words[:1], "problems": ["empty"]},
            {"id": c, "caption": HOSTILE, "keywords": [], "problems": []},
        ],
        "grounded_regions": [
            {
                "id": a,
                "region_id": region,
                "concept_id": concept,
                "phrase": concept,
                "bbox": box,
                "score": score,
            }
            for region, concept, box, score in (
                (bowl, "bowl", [0.1, 0.2, 0.2, 0.2], 0.9),
                (vase, "vase", [0.5, 0.2, 0.2, 0.3], 0.8),  # the vase is a quarter taller
            )
        ],
        "region_masks": [
            {
                "id": a,
                "region_id": bowl,
                "height": HEIGHT,
                "width": WIDTH,
                "counts": rle(HEIGHT, WIDTH, [40, 60, 40, 60]),  # half of it
            }
        ],
        "region_matches": [
            {
                "id": a,
                "region_id": bowl,
                "concept_id": "bowl",
                "logit": 2.0,
                "probability": 0.9,
                "verdict": "confirmed",
            }
        ],
        "region_embeddings": [
            {"id": a, "region_id": bowl, "embedding": _UNIT, "masked_embedding": None},
        ],
        "region_captions": [
            {"id": a, "region_id": bowl, "caption": "a bowl on a shelf", "mean_logprob": -0.3}
        ],
        "ocr_text": [
            {"id": a, "line": 0, "text": "GALLERY 5", "confidence": 0.9, "bbox": [0.5, 0.66, 0.25, 0.1]}
        ],
        "routing": [
            {"id": a, "lane": "fast", "reasons": []},
            {"id": b, "lane": "heavy", "reasons": ["low_coverage", "text"]},
            {"id": c, "lane": "fast", "reasons": []},
        ],
        "tags": [
            tag(a, "bowl", 1, 0.9, region_ids=[bowl], detector_score=0.9, vlm_logprob=-0.1, state="human"),
            tag(a, "vase", 2, 0.8, region_ids=[vase], detector_score=0.8),
            tag(a, "spotlight", 3, 0.7),
            tag(b, "vase", 1, 0.6, ungrounded=True),
            tag(b, "bowl", 2, 0.5, state="rejected"),
            tag(c, None, 1, 0.2, needs_review=True),
        ],
        "descriptions": [
            {
                "id": id_,
                "title": "A bowl" if id_ == a else "",
                "description": "A bowl & a vase. The light is soft." if id_ == a else "A bowl.",
                "claims": [
                    {"aspect": "subject", "text": "A bowl", "region_ids": [bowl], "flags": ["wrong_region"]},
                    {"aspect": "light", "text": "a warm light", "region_ids": [], "flags": ["ungrounded"]},
                ],
                "valid": id_ != c,
                "problems": [],
                "lane": "heavy" if id_ == b else "fast",
            }
            for id_ in IDS
        ],
    }
