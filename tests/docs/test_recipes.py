"""What the documents show as code to write does what they say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from hand_made_lake import FOLDER, IDS, make_home

from resources import tables
from resources.workspace import open_workspace
from vistag_assets.folder_asset import declared, update_table

ROOT = Path(__file__).parents[2]


def test_the_asset_of_contributing_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add an asset")[2]
    table, module = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[:2]
    written = dict(vars(tables))
    exec(table, written)
    monkeypatch.setattr("vistag_assets.folder_asset._DECLARED", {})
    monkeypatch.setitem(tables.TABLES, "sharpness", written["SHARPNESS"])  # type: ignore[arg-type]
    (tmp_path / "sharpness.py").write_text(module)
    spec = importlib.util.spec_from_file_location("sharpness", tmp_path / "sharpness.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    workspace = open_workspace(make_home(tmp_path / "home"))
    assert [update_table("sharpness", workspace, FOLDER).computed for _ in range(2)] == [len(IDS), 0]
    stored = workspace.lake.read("sharpness", FOLDER)
    assert stored.schema.names == ["id", "variance", "fingerprint"]
    assert min(stored["variance"].to_pylist()) > 0
    asset = declared("sharpness")
    assert asset is not None
    assert list(asset.inputs) == ["proxies"]
