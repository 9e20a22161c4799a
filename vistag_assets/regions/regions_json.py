"""regions.json: the regions of one image for people and scripts that read no Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resources.lake.files import path_below, replace_file
from resources.workspace import Workspace
from taxonomy import Concept

FOLDER = "regions"


def regions_json_path(home_root: Path, key: str, id_: str) -> Path:
    return path_below(home_root, f"{FOLDER}/{key}/{id_}.json")


def update_regions_json(workspace: Workspace, key: str) -> None:
    """Make `<home>/regions/<folder>/` hold one file an image of `grounded_regions`, and no others.

    They follow from the lake alone, so a run that was killed before them is made good by the next one.
    A file that says so already is not touched.
    """
    concepts = workspace.taxonomy.by_id
    images = workspace.lake.read("images", key, ["id", "path", "width", "height"]).to_pylist()
    regions: dict[str, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for row in workspace.lake.read("grounded_regions", key).to_pylist():
        if row["id"] in regions:
            regions[row["id"]].append(row)
    live = {f"{id_}.json" for id_ in regions}
    for image in images:
        path = regions_json_path(workspace.home.root, key, image["id"])
        content = render(image, regions[image["id"]], concepts).encode()
        if not path.is_file() or path.read_bytes() != content:
            with replace_file(path) as file:
                file.write(content)
    for path in (workspace.home.root / FOLDER / key).glob("*.json"):
        if path.name not in live:
            path.unlink()


def render(
    image: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], concepts: Mapping[str, Concept]
) -> str:
    """The JSON text of one image. `image`: id, path, width, height (pixels); `concepts`: those of the vocabulary, by id.

    Boxes are xywh: in whole pixels of the upright original, and relative to it (0..1).
    """
    width, height = image["width"], image["height"]
    content = {
        "id": image["id"],
        "path": image["path"],
        "width": width,
        "height": height,
        "regions": [
            {
                "region_id": row["region_id"],
                "concept_id": row["concept_id"],
                "label": concept.pref_label if concept else row["phrase"],
                **(_identity(concept) if concept else {}),
                "phrase": row["phrase"],
                "bbox_px": to_pixels(row["bbox"], width, height),
                "bbox": [round(value, 5) for value in row["bbox"]],
                "score": round(row["score"], 4),
                "text_score": round(row["text_score"], 4),
                "prompt": row["prompt"],
                "chunk": row["chunk"],
            }
            for row in regions
            for concept in [concepts.get(row["concept_id"] or "")]
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _identity(concept: Concept) -> dict[str, str]:
    """What the catalogue calls it, as far as the vocabulary's file says."""
    return {name: value for name in ("iri", "notation") if (value := getattr(concept, name))}


def to_pixels(bbox: Sequence[float], width: int, height: int) -> list[int]:
    """A relative xywh box in whole pixels; its right and bottom edges are rounded, not its size."""
    left, top = round(bbox[0] * width), round(bbox[1] * height)
    right, bottom = round((bbox[0] + bbox[2]) * width), round((bbox[1] + bbox[3]) * height)
    return [left, top, right - left, bottom - top]
