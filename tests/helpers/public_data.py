"""Small stand-ins for public data, in the formats of their publishers, as a mirror holds them: path -> content."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
from PIL import Image

COCO = "/s3.amazonaws.com/images.cocodataset.org/val2017"
LVIS = "/huggingface.co/GLIPModel/GLIP/resolve/main/lvis_v1_minival_inserted_image_name.json"
GOOGLE = "/storage.googleapis.com/openimages"
FOUNDATION = "/open-images-dataset.s3.amazonaws.com/validation"
LABELS = f"{GOOGLE}/v7/oidv7-val-annotations-human-imagelabels.csv"
SIDES = (240, 180)


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDES[1] // 10, SIDES[0] // 10, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).resize(SIDES).save(content, "JPEG")
    return content.getvalue()


def lvis_files(images: int = 6) -> dict[str, bytes]:
    """All pictures show a bowl; each shows one of bow_(weapon), amphora and sword besides, of which the sword is rarest."""
    categories = [
        {"id": 1, "name": "bowl", "synset": "bowl.n.03", "synonyms": ["bowl"], "def": "a dish", "frequency": "f"},
        {
            "id": 2, "name": "bow_(weapon)", "synset": "bow.n.04", "synonyms": ["bow_(weapon)", "longbow"],
            "def": "a weapon", "frequency": "r",
        },
        {"id": 3, "name": "amphora", "synset": "amphora.n.01", "synonyms": ["amphora"], "def": "a jar", "frequency": "c"},
        {"id": 4, "name": "sword", "synset": "sword.n.01", "synonyms": ["sword"], "def": "a blade", "frequency": "c"},
    ]  # fmt: skip
    others = [4 if number == 0 else 2 if number < 3 else 3 for number in range(images)]
    listed, annotations = [], []
    for number, other in enumerate(others):
        id_ = 100 + number
        negative = 4 if other != 4 else 2
        listed.append(
            {
                "id": id_, "width": SIDES[0], "height": SIDES[1], "license": 1,
                "coco_url": f"http://images.cocodataset.org/val2017/{id_:012}.jpg", "file_name": f"val2017/{id_:012}.jpg",
                "neg_category_ids": [negative], "not_exhaustive_category_ids": [],
            }
        )  # fmt: skip
        for place, category in enumerate((1, other)):
            x, y = 10 + 100 * place, 20
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": id_, "category_id": category, "bbox": [x, y, 50, 60],
                    "area": 3000, "segmentation": [[x, y, x + 50, y, x + 50, y + 60, x, y + 60]],
                }
            )  # fmt: skip
    document = {"info": {}, "images": listed, "categories": categories, "annotations": annotations}
    files = {LVIS: json.dumps(document).encode()}
    return files | {f"{COCO}/{100 + number:012}.jpg": jpeg(number) for number in range(images)}


def openimages_files(images: int = 6) -> dict[str, bytes]:
    """A common class in more than ten pictures, a rare one in two of `images`, which alone are published."""
    ids = [f"{number:016x}" for number in range(20)]
    rows = ["ImageID,Source,LabelName,Confidence"]
    rows += [f"{id_},verification,/m/common,1" for id_ in ids]
    rows += [f"{ids[number]},verification,/m/rare{number // 2},1" for number in range(images)]
    rows += [f"{ids[number]},verification,/m/rare{(number // 2 + 1) % 3},0" for number in range(images)]
    boxes = [
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside",
        f"{ids[0]},xclick,/m/common,1,0.1,0.6,0.2,0.7,0,0,0,0,0",
        f"{ids[19]},xclick,/m/common,1,0.1,0.6,0.2,0.7,0,0,0,0,0",
    ]
    about = [
        "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
        "Thumbnail300KURL,Rotation"
    ]
    about += [
        f"{id_},validation,https://f.example/{id_},https://l.example/{id_},https://creativecommons.org/licenses/by/2.0/,"
        f'https://p.example,"Maker, A.",Title,1,x,,0'
        for id_ in ids
    ]
    names = [
        "LabelName,DisplayName",
        "/m/common,Bowl",
        "/m/rare0,Amphora",
        '/m/rare1,"Bow, weapon"',
        "/m/rare2,Sword",
    ]
    texts = {
        LABELS: rows,
        f"{GOOGLE}/v7/oidv7-class-descriptions.csv": names,
        f"{GOOGLE}/2018_04/validation/validation-images-with-rotation.csv": about,
        f"{GOOGLE}/v5/validation-annotations-bbox.csv": boxes,
    }
    files = {path: ("\n".join(lines) + "\n").encode() for path, lines in texts.items()}
    return files | {f"{FOUNDATION}/{id_}.jpg": jpeg(number) for number, id_ in enumerate(ids[:images])}
