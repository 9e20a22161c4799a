"""regions.json: the regions of one image for people and scripts that read no Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from resources.home import Home
from resources.lake.files import path_below, replace_file
from resources.lake.ranges import IdRange
from resources.object_store import ObjectPath
from resources.workspace import Workspace
from taxonomy import Concept

FOLDER = "regions"
SCHEMA_ID = "urn:x-vistag:schema/regions/1"
_Share = Annotated[float, Field(ge=0, le=1)]
_Pixels = Annotated[int, Field(ge=0)]


class FoundRegion(BaseModel):
    """A box that a detector found, and what it was asked for."""

    model_config = ConfigDict(extra="forbid")

    region_id: str = Field(description="unique in the home; tags and descriptions cite it")
    concept_id: str | None = Field(description="of the vocabulary; null for words that it has not")
    label: str = Field(description="preferred label of the concept, else the words")
    iri: str = Field(default="", description="of the concept, where the vocabulary's file has one")
    notation: str = Field(default="", description="of the concept, where the vocabulary's file has one")
    phrase: str = Field(description="words that the detector was asked for")
    bbox_px: tuple[_Pixels, _Pixels, _Pixels, _Pixels] = Field(
        description="x and y of the top left, width, height, in pixels of the upright original"
    )
    bbox: tuple[_Share, _Share, _Share, _Share] = Field(description="the same, relative to the picture")
    score: _Share = Field(description="the detector's")
    text_score: _Share = Field(description="the detector's, of the words")
    prompt: str = Field(description="all that the detector was asked at once")
    chunk: int = Field(ge=0, description="which of the prompts for this image it was")


class RegionsFile(BaseModel):
    """The regions of one image."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern="^[0-9a-f]{32}$", description="content id of the image")
    path: str = Field(description="of the file, relative to its library")
    width: int = Field(gt=0, description="pixels of the upright original")
    height: int = Field(gt=0, description="pixels of the upright original")
    regions: list[FoundRegion]


def schema() -> str:
    """JSON Schema of such a file: docs/regions.schema.json, which `make docs` writes."""
    described = RegionsFile.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    return json.dumps(head | described, indent=1) + "\n"


def regions_json_path(home_root: Path, key: str, id_: str) -> Path:
    return path_below(home_root, f"{FOLDER}/{key}/{id_}.json")


def shared_regions(home: Home, key: str) -> ObjectPath | None:
    """Where those of a folder lie on the store of the lake, if it lies on one."""
    shared = home.shared
    return shared / FOLDER / key if shared else None


def update_regions_json(workspace: Workspace, key: str) -> None:
    """Make `<home>/regions/<folder>/` hold one file an image of `grounded_regions`, and no others.

    Where the lake lies on a store they are put there too, below `.vistag/regions/<folder>/`. They follow from the lake
    alone, so a run that was killed before them is made good by the next one.
    A file that says so already is not touched.
    """
    shared = shared_regions(workspace.home, key)
    on_store = {found.path.name: found.path for found in shared.listing()} if shared else {}
    live: set[str] = set()
    for ids in workspace.ranges_of(key):
        live |= _write_range(workspace, key, ids, shared, on_store.keys())
    for path in (workspace.home.root / FOLDER / key).glob("*.json"):
        if path.name not in live:
            path.unlink()
    for name in on_store.keys() - live:
        on_store[name].unlink(missing_ok=True)


def _write_range(
    workspace: Workspace, key: str, ids: IdRange, shared: ObjectPath | None, on_store: Set[str]
) -> set[str]:
    """The files of some images, by their names."""
    concepts = workspace.taxonomy.by_id
    images = workspace.lake.read("images", key, ["id", "path", "width", "height"], ids).to_pylist()
    regions: dict[str, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for row in workspace.lake.read("grounded_regions", key, ids=ids).to_pylist():
        if row["id"] in regions:
            regions[row["id"]].append(row)
    for image in images:
        path = regions_json_path(workspace.home.root, key, image["id"])
        content = render(image, regions[image["id"]], concepts).encode()
        is_new = not path.is_file() or path.read_bytes() != content
        # first on the store: what lies here says that it lies there
        if shared and (is_new or path.name not in on_store):
            with replace_file(shared / path.name) as put:
                put.write(content)
        if is_new:
            with replace_file(path) as file:
                file.write(content)
    return {f"{id_}.json" for id_ in regions}


def render(
    image: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], concepts: Mapping[str, Concept]
) -> str:
    """The JSON text of one image. `image`: id, path, width, height (pixels); `concepts`: those of the vocabulary, by id.

    Boxes are xywh: in whole pixels of the upright original, and relative to it (0..1).
    """
    width, height = image["width"], image["height"]
    content = RegionsFile(
        id=image["id"],
        path=image["path"],
        width=width,
        height=height,
        regions=[
            FoundRegion(
                region_id=row["region_id"],
                concept_id=row["concept_id"],
                label=concept.pref_label if concept else row["phrase"],
                **(_identity(concept) if concept else {}),
                phrase=row["phrase"],
                bbox_px=to_pixels(row["bbox"], width, height),
                bbox=_rounded(row["bbox"]),
                score=round(row["score"], 4),
                text_score=round(row["text_score"], 4),
                prompt=row["prompt"],
                chunk=row["chunk"],
            )
            for row in regions
            for concept in [concepts.get(row["concept_id"] or "")]
        ],
    )
    return json.dumps(content.model_dump(exclude_unset=True), ensure_ascii=False, indent=1) + "\n"


def _identity(concept: Concept) -> dict[str, str]:
    """What the catalogue calls it, as far as the vocabulary's file says."""
    return {name: value for name in ("iri", "notation") if (value := getattr(concept, name))}


def _rounded(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = (round(value, 5) for value in bbox)
    return x, y, width, height


def to_pixels(bbox: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """A relative xywh box in whole pixels; its right and bottom edges are rounded, not its size."""
    left, top = round(bbox[0] * width), round(bbox[1] * height)
    right, bottom = round((bbox[0] + bbox[2]) * width), round((bbox[1] + bbox[3]) * height)
    return left, top, right - left, bottom - top
