"""FiftyOne's dataset on disk: by the form that it documents, and read by FiftyOne itself where it is installed."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from exporting import export
from hand_made_lake import IDS, make_home

from resources.home import Home

PYTHON = os.environ.get("VISTAG_FIFTYONE")
READER = Path(__file__).parents[2] / "helpers/exports/read_by_fiftyone.py"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@pytest.mark.extras
@pytest.mark.skipif(
    PYTHON is None, reason="make test-fiftyone names a Python that has fiftyone and mongomock"
)
def test_fiftyone_s_own_importer_reads_samples_labels_and_masks(home: Home, tmp_path: Path) -> None:
    export(home, "fiftyone", tmp_path / "out")
    export(home, "fiftyone", tmp_path / "boxes", regions="boxes", labels=False)
    read = [
        json.loads(
            subprocess.run(
                [str(PYTHON), str(READER), str(tmp_path / folder)], check=True, capture_output=True, text=True
            ).stdout.splitlines()[-1]
        )
        for folder in ("out", "boxes")
    ]
    whole, boxes = read
    assert whole["media_type"] == "image"
    assert [(sample["path"], sample["there"]) for sample in whole["samples"]] == [
        (f"a/{n}.jpg", True) for n in (1, 2, 3)
    ]
    first = whole["samples"][0]
    assert first["caption"] == "a bowl, two vases and a sword"
    assert first["labels"] == [
        ["bowl", 0.9, "bowl", "human"],
        ["vase", 0.8, "vase", "machine"],
        ["spotlight", 0.7, "spotlight", "machine"],
    ]
    (bowl, box, score, filled), (vase, _, _, no_mask) = first["regions"]
    assert (bowl, vase, no_mask) == ("bowl", "vase", None)
    assert box == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert score == pytest.approx(0.9)
    assert filled == pytest.approx(0.5, abs=0.02)  # the mask is the left half of its box
    assert [region[3] for region in boxes["samples"][0]["regions"]] == [None, None]
    assert boxes["samples"][0]["labels"] == []


def test_masks_are_numpy_s_files_within_the_box(home: Home, tmp_path: Path) -> None:
    export(home, "fiftyone", tmp_path / "out")
    first, *_ = json.loads((tmp_path / "out/samples.json").read_text())["samples"]
    assert first["filepath"] == "data/lib/a/1.jpg"
    assert (tmp_path / "out" / first["filepath"]).is_file()
    packed = first["regions"]["detections"][0]["mask"]["$binary"]["base64"]
    mask = np.load(io.BytesIO(zlib.decompress(base64.b64decode(packed))))
    assert (mask.dtype, mask.shape) == (np.bool_, (60, 80))
    assert mask[:, :40].all()
    assert not mask[:, 40:].any()


def test_without_pictures_samples_name_the_originals(home: Home, tmp_path: Path) -> None:
    export(home, "fiftyone", tmp_path / "out", pictures=False, regions="none")
    samples = json.loads((tmp_path / "out/samples.json").read_text())["samples"]
    assert samples[0]["filepath"] == str(home.root / "library/a/1.jpg")
    assert samples[0]["vistag_id"] == IDS[0]
    assert "regions" not in samples[0]
    assert not (tmp_path / "out/data").exists()
