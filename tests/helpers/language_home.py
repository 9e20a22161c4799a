"""A home for the language stages: one folder of drawn pictures with regions, and what is known of one picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from resources.home import Home, Settings, write_settings
from resources.lake import with_empty_ids
from resources.models.tiers import load_tier
from resources.workspace import Workspace, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.language.describing import Known
from vistag_assets.progress import Meter
from vistag_assets.regions.boxes import Region
from vistag_assets.runs import find_library

KEY = "lib"
PICTURES = 5
BOWL = Region(f"{'a' * 12}-r4", "bowl", "bowl", (0.1, 0.1, 0.3, 0.3), 0.9)
KNOWN = Known({"r1": BOWL}, "An oak chair and a bowl.", ("SOFT LIGHT",), frozenset({"terracotta"}))


def workspace_with(tmp_path: Path, **vlm: object) -> Workspace:
    """A folder of drawn pictures, ingested, with regions in all of them but the last."""
    vlm = {"batch_size": 4, "caption_tokens": 6, "description_tokens": 12} | vlm
    demo = load_tier("demo")
    models = {role: getattr(demo, role).model_dump() for role in ("encoder", "detector")}
    tier = {"description": "tiny", "device": "cpu", **models, "vlm": vlm | {"licence": "own"}}
    (tmp_path / "tiny.yaml").write_text(json.dumps(tier))
    home = Home(tmp_path / "home")
    write_settings(home, Settings(tier=str(tmp_path / "tiny.yaml")))
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        (tmp_path / "library").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "library" / f"{number}.png")
    workspace = open_workspace(home)
    [folder] = find_library(tmp_path / "library", "lib", home)
    ingest_files(workspace, folder, Meter("Reading"))
    ids = workspace.lake.read("proxies", KEY)["id"].to_pylist()
    regions = [
        {
            "id": id_,
            "region_id": f"{id_[:12]}-r{number}",
            "concept_id": phrase,
            "phrase": phrase,
            "bbox": [0.1, 0.1, 0.5, 0.5 if number < 3 else 0.2],
            "score": 1 - number / 10,
            "fingerprint": "regions",
        }
        for id_ in ids[:-1]
        for number, phrase in enumerate(["terracotta", "bowl", "chair"], start=1)
    ]
    rows = with_empty_ids(pa.Table.from_pylist(regions), {ids[-1]: "regions"})
    workspace.lake.write("grounded_regions", rows, KEY)
    return workspace


def run(workspace: Workspace) -> list[int]:
    """All three stages; how many images each computed."""
    tables = ("captions", "region_captions", "descriptions")
    return [update_table(table, workspace, KEY).computed for table in tables]
