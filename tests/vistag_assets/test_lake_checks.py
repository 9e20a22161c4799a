"""The checks that compare two tables of the lake: what lacks its counterpart is counted."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from hand_made_lake import IDS, Row, make_home, tables, write

from resources.home import Home
from resources.workspace import VistagResource
from vistag_assets.regions.region_matches import every_region_has_a_match
from vistag_assets.tags.tags import tags_name_regions_that_exist
from vistag_assets.whole_image.tag_scores import every_image_has_tag_scores

EMBEDDINGS: list[Row] = [{"id": id_, "embedding": np.eye(1, 224, dtype=np.float16)[0]} for id_ in IDS]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path / "home")
    write(home, "global_embeddings", EMBEDDINGS)
    return home


@pytest.mark.parametrize(
    ("check", "right", "table", "change", "fault"),
    [
        (
            every_image_has_tag_scores,
            "All 3 images with an embedding have tag scores.",
            "tag_scores",
            lambda rows: [row for row in rows if row["id"] == IDS[0]],
            "2 of 3 images with an embedding have no tag scores; run their folders again.",
        ),
        (
            every_region_has_a_match,
            "1 of 1 regions with an embedding have a match.",
            "region_embeddings",
            lambda rows: [*rows, dict(rows[0], region_id="another")],
            "1 of 2 regions with an embedding have no match; run their folders again.",
        ),
        (
            tags_name_regions_that_exist,
            "1 of 1 regions that tags name are regions of their image.",
            "grounded_regions",
            lambda rows: rows[:1],
            "1 of 1 regions that tags name are no regions of their image; run its folder again.",
        ),
    ],
)
def test_what_lacks_its_counterpart_is_counted(
    home: Home,
    check: Callable[..., dg.AssetCheckResult],
    right: str,
    table: str,
    change: Callable[[list[Row]], list[Row]],
    fault: str,
) -> None:
    vistag = VistagResource(home=str(home.root))
    passed = check(vistag)
    assert (passed.passed, passed.description) == (True, right)
    write(home, table, change(tables()[table]))
    failed = check(vistag)
    assert (failed.passed, failed.description) == (False, fault)
