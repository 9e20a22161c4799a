"""What stands behind a tag, as the page of a picture tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hand_made_lake import FOLDER, IDS, make_home, write

from resources.workspace import open_workspace
from vistag_assets.app.evidence import view_of


def test_the_tagger_s_own_words_stand_behind_the_tags_that_they_are_labels_of(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    columns = ("id", "rank", "tag", "category", "concept_id", "score", "threshold")
    said = [
        (IDS[0], 1, "Vases", None, None, 0.9, 0.68),
        (IDS[0], 2, "zombie", None, None, 0.8, 0.68),
        (IDS[0], 3, "what it was asked as", None, "vase", 0.3, 0.5),
        (IDS[1], 1, "vase", None, None, 0.7, 0.68),
    ]
    write(home, "tagger_scores", [dict(zip(columns, row, strict=True)) for row in said])
    view = view_of(open_workspace(home), FOLDER, IDS[0])
    assert view is not None
    told = {
        shown.line.concept_id: [
            (source.value, source.told) for source in shown.sources if source.name == "tagger"
        ]
        for shown in view.tags
    }
    assert [value for value, _ in told["vase"]] == pytest.approx([0.9, 0.3])
    assert told["vase"][0][1] == "“Vases”, rank 1; its makers take it for seen from 0.68"
    assert not any(words for concept, words in told.items() if concept != "vase")
