"""A batch that does not fit the memory is halved, said, and remembered for model and card; no row is lost or other."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_lake import FOLDER, IDS, make_home
from numpy.typing import NDArray

from resources.home import Home
from resources.models.batch_sizes import FILE, is_out_of_memory
from resources.models.encoders import Encoder
from resources.workspace import Workspace, open_workspace
from vistag_assets.folder_asset import update_table

FITS = 2


@pytest.fixture
def small_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real encoder on a card that holds `FITS` pictures at a time."""
    real = Encoder.embed_pixels

    def embed(self: Encoder, pixels: Sequence[Any]) -> NDArray[np.float32]:
        if min(len(pixels), self.spec.batch_size) > FITS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, pixels)

    monkeypatch.setattr(Encoder, "embed_pixels", embed)


def embedded(workspace: Workspace) -> NDArray[np.float16]:
    rows = workspace.lake.read("global_embeddings", FOLDER).sort_by("id")
    assert rows["id"].to_pylist() == sorted(IDS)
    return np.stack([np.asarray(vector) for vector in rows["embedding"].to_pylist()])


def fresh(home: Home) -> Workspace:
    """A workspace whose encoder has what the tier says."""
    workspace = open_workspace(home)
    workspace.encoder.spec = workspace.tier.encoder
    vars(workspace).pop("encoder")
    return workspace


@pytest.mark.usefixtures("small_card")
def test_a_batch_that_does_not_fit_is_halved_said_and_remembered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = fresh(make_home(tmp_path / "home"))
    with caplog.at_level(logging.WARNING):
        stats = update_table("global_embeddings", workspace, FOLDER)
    assert (stats.computed, stats.failed) == (len(IDS), 0)
    assert embedded(workspace).shape == (len(IDS), workspace.encoder.dimension)
    asked = workspace.tier.encoder.batch_size
    steps = [record.getMessage() for record in caplog.records if "do not fit the memory" in record.message]
    assert f"{asked} at a time do not fit" in steps[0]
    assert f"from now on it is asked for {FITS} " in steps[-1]
    [remembered] = json.loads((tmp_path / "home" / FILE).read_text()).values()
    assert len(remembered) == 1

    again = fresh(workspace.home)
    assert again.encoder.spec.batch_size == FITS  # before anything failed
    again.encoder.spec = again.tier.encoder  # other tests share the model of this process


def test_what_is_remembered_is_of_the_number_in_the_tier_and_a_damaged_file_is_as_none(
    tmp_path: Path,
) -> None:
    workspace = fresh(make_home(tmp_path / "home"))
    encoder, asked = workspace.encoder, workspace.tier.encoder
    assert workspace.halve_batches("encoder")
    assert encoder.spec.batch_size == asked.batch_size // 2
    encoder.spec = larger = asked.model_copy(update={"batch_size": 4 * asked.batch_size})
    workspace._batch_sizes.apply(larger, encoder)
    assert encoder.spec.batch_size == 4 * asked.batch_size
    encoder.spec = asked
    (workspace.home.root / FILE).write_text("{")
    workspace._batch_sizes.apply(asked, encoder)
    assert encoder.spec.batch_size == asked.batch_size
    encoder.spec = asked.model_copy(update={"batch_size": 1})
    assert not workspace.halve_batches("encoder")
    encoder.spec = asked


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_tells_of_too_little_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one
