"""What Dagster's UI shows: of the definitions, and of a real materialisation of a small library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from guarded_server import guarded_dagster, listening, status
from PIL import Image
from small_library import draw, tag, tiny_home
from tiny_checkpoint import save_tiny_siglip

from resources.checked import checked
from resources.home import Home, Settings, write_settings
from resources.metadata import ROW_COUNT
from resources.previews import NOTHING, PREVIEW_BYTES, preview, preview_page, show, thumbnail
from resources.workspace import VistagResource
from vistag_assets.automation.instance import home_instance
from vistag_assets.definitions import defs
from vistag_assets.folder_asset import with_work
from vistag_assets.ingest import ingest
from vistag_assets.partitions import PREVIEWED_FOLDERS

# As the design draws the graph, from left to right; the last two stand side by side.
GROUPS = [
    *("ingest", "whole_image", "regions", "search", "language", "tags"),
    *("review", "exports", "evaluation", "gallery"),
]
METADATA_BYTES = 600
"""Of a table of a folder: Dagster keeps it for good."""
IN_EVERY_TIER = {"global_embeddings", "tag_scores", "images", "proxies", "routing", "tags"}
WHERE_A_TIER_NAMES_THE_MODEL = {
    "ocr_text",
    "captions",
    "candidates",
    "grounded_regions",
    "region_masks",
    "region_embeddings",
    "region_matches",
    "region_captions",
    "descriptions",
}


def specs() -> dict[str, dg.AssetSpec]:
    graph = defs.resolve_asset_graph()
    made = {key.to_user_string() for key in graph.materializable_asset_keys}
    found = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    return {name: spec for name, spec in found.items() if name in made}


# ---- the definitions


def test_every_asset_lists_its_columns_and_what_they_mean() -> None:
    tables = {
        name: spec.metadata["dagster/column_schema"]
        for name, spec in specs().items()
        if "dagster/column_schema" in spec.metadata
    }
    assert specs().keys() - tables.keys() == {
        "contact_sheet",
        "long_tail_report",
        "image_index",
        "region_index",
        *(name for name in specs() if name.startswith("export_")),
    }  # pages, indexes and files, not tables
    for name, table in tables.items():
        for column in table.columns:
            assert column.description, f"{name}.{column.name}"
            assert len(column.type) < 160, f"{name}.{column.name}"


def test_every_check_says_what_it_looks_for() -> None:
    checks = [spec for check in defs.asset_checks or () for spec in check.check_specs]  # type: ignore[union-attr]
    assert len(checks) >= 16
    for spec in checks:
        assert spec.description, spec.name
        assert spec.description.endswith("."), spec.name


def test_groups_follow_each_other_from_left_to_right() -> None:
    group_of = {name: str(spec.group_name) for name, spec in specs().items()}
    assert set(group_of.values()) == set(GROUPS)
    for name, spec in specs().items():
        for dependency in spec.deps:
            before = group_of[dependency.asset_key.to_user_string()]
            assert GROUPS.index(before) <= GROUPS.index(group_of[name]), f"{name} comes before {dependency}"


# ---- previews


def noise(side_px: int) -> Image.Image:
    pixels = np.random.default_rng(side_px).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_preview_stays_small_whatever_it_is_given() -> None:
    shown = preview(["image", "text"], [(thumbnail(noise(160), 160), "word " * 10_000) for _ in range(50)])
    assert 1 <= len(shown.rows) < 50
    markdown = str(shown.in_metadata()["preview"].value)
    assert markdown.count("data:image/jpeg") == len(shown.rows)
    assert len(markdown) < PREVIEW_BYTES + 1000
    assert preview(["image"], []).in_metadata() == {}


def test_hostile_words_stay_in_their_cell() -> None:
    text = str(preview(["file", "code"], [("a|b<script>\n![](x)_c_", "*")]).in_metadata()["preview"].value)
    assert text.splitlines()[2] == r"| a\|b&lt;script&gt; \!\[\]\(x\)\_c\_ | \* |"


def test_the_page_of_a_folder_is_replaced_and_goes_when_there_is_nothing_to_see(tmp_path: Path) -> None:
    home, table, key = Home(tmp_path), "ocr_text", "fotos--ä b"
    for word in ("first", "<b>second</b>"):
        told = show(home, table, key, preview(["image", "text"], [(thumbnail(noise(8)), word)]), "run 1")
    assert told == {"preview": dg.MetadataValue.url("/vistag/previews/ocr_text/fotos--%C3%A4%20b.html")}
    page = preview_page(home, table, key).read_text()
    assert "&lt;b&gt;second&lt;/b&gt;" in page
    assert "first" not in page
    assert page.count('<img src="data:image/jpeg;base64,') == 1
    assert show(home, table, key, NOTHING, "run 2") == {}
    assert not preview_page(home, table, key).exists()


# ---- checks


@pytest.mark.parametrize(
    ("looked_at", "wrong", "passed", "sentence"),
    [
        (0, 0, True, "There are no images to look at."),
        (1, 0, True, "1 of 1 images are sharp."),
        (1200, 0, True, "All 1,200 images are sharp."),
        (40, 2, True, "2 of 40 images are blurred. Up to 5% pass."),
        (40, 3, False, "3 of 40 images are blurred. Up to 5% pass."),
        (40, ["a", "b"], True, "2 of 40 images are blurred: a, b. Up to 5% pass."),
        (40, list("abcdefghijkl"), False, "12 of 40 images are blurred: a, b, c, d, e, f, g, h, i, j and 2 more. "
         "Up to 5% pass."),
    ],
)  # fmt: skip
def test_a_check_says_how_many_are_wrong(
    looked_at: int, wrong: int | list[str], passed: bool, sentence: str
) -> None:
    result = checked("images", looked_at, wrong, right="are sharp", fault="are blurred", allowed_share=0.05)
    assert (result.passed, result.description) == (passed, sentence)


# ---- a real run


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("tagged")
    home = tiny_home(root, save_tiny_siglip(root / "tiny"))
    tag(home, root / "library")
    return home


def materialised(home: Home, asset: str) -> dict[str, Mapping[str, Any]]:
    """Partition -> the metadata of its last materialisation."""
    with home_instance(home.root) as instance:
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
    return {
        str(record.partition_key): record.asset_materialization.metadata
        for record in records
        if record.asset_materialization
    }


def assert_shown(home: Home, asset: str, folder: str, expect_work: bool = True) -> None:
    if not expect_work:
        assert materialised(home, asset) == {}, asset
        return
    metadata = materialised(home, asset)[folder]
    assert isinstance(metadata[ROW_COUNT], dg.IntMetadataValue), asset
    sizes = [len(name) + len(str(value.value).encode()) for name, value in metadata.items()]
    assert sum(sizes) < METADATA_BYTES, asset
    assert all(not isinstance(value, dg.JsonMetadataValue) for value in metadata.values()), asset
    assert isinstance(metadata["images_per_second"], dg.FloatMetadataValue), asset
    assert metadata["device"].value == "cpu"
    assert metadata["decoded" if asset in ("images", "proxies") else "computed"].value > 0, asset
    seen = preview_page(home, asset, folder).read_text() if "preview" in metadata else ""
    assert ("data:image/jpeg" in seen) == (metadata[ROW_COUNT].value > 0), asset


def test_a_run_says_what_it_did_and_shows_pictures_of_it(tagged: Home) -> None:
    for asset in IN_EVERY_TIER:
        assert_shown(tagged, asset, "lib--b")
    for asset in WHERE_A_TIER_NAMES_THE_MODEL | {"depth_maps", "tagger_scores"}:
        assert_shown(tagged, asset, "lib--b", expect_work=False)


def test_tables_without_a_model_run_only_where_another_tier_left_rows(tagged: Home) -> None:
    asked = [dg.AssetKey(name) for name in ("images", "depth_maps", "captions", "contact_sheet")]
    left = pa.table({"id": ["a"], "fingerprint": ["b"]})
    tagged.lake.replace("depth_maps", left, "lib--a")
    try:
        assert with_work(tagged, asked, ["lib--a", "lib--b"]) == [asked[0], asked[1], asked[3]]
        assert with_work(tagged, asked, ["lib--b"]) == [asked[0], asked[3]]
    finally:
        tagged.lake.delete("depth_maps", "lib--a")


def test_a_partition_names_its_directory_and_counts_its_own_images(tagged: Home) -> None:
    library = tagged.root.parent / "library"
    for folder, metadata in materialised(tagged, "images").items():
        assert metadata["directory"] == dg.MetadataValue.path(str(library / folder.removeprefix("lib--")))
        assert metadata["decoded"].value == 5
    for asset in IN_EVERY_TIER - {"images", "proxies"}:
        assert {each["computed"].value for each in materialised(tagged, asset).values()} == {5}, asset
        assert all(each["made_by"].value.startswith("tier ") for each in materialised(tagged, asset).values())


def test_pages_are_links_that_the_web_server_opens(tagged: Home) -> None:
    [sheet] = materialised(tagged, "contact_sheet").values()
    assert sheet["page"] == dg.MetadataValue.url("/vistag/gallery/index.html")
    preview = materialised(tagged, "tags")["lib--a"]["preview"]
    with guarded_dagster(tagged.root) as (guard, _), listening(guard) as port:
        own = ("Host", f"127.0.0.1:{port}")
        for path in (sheet["page"].value, "/vistag/gallery/", preview.value):
            assert status(port, "GET", path, [own]) == 200
        for path in (
            "/vistag/../settings.json",
            "/vistag/%2e%2e/settings.json",
            "/vistag/gallery/../../settings.json",
        ):
            assert status(port, "GET", path, [own]) == 404


def test_files_that_cannot_be_used_are_counted_and_shown_with_their_reason(tagged: Home) -> None:
    assert materialised(tagged, "images")["lib--b"]["rejects"].value == 1
    rejects = materialised(tagged, "rejects")
    assert rejects["lib--b"][ROW_COUNT].value == 1
    assert rejects["lib--b"]["preview"].value == "/vistag/previews/rejects/lib--b.html"
    assert "broken.jpg" in preview_page(tagged, "rejects", "lib--b").read_text()
    assert "preview" not in rejects["lib--a"]


def test_every_check_of_the_run_passed_and_says_so_in_a_sentence(tagged: Home) -> None:
    checks = defs.resolve_job_def("tag_folders").asset_layer.asset_graph.asset_check_keys
    with home_instance(tagged.root) as instance:
        (run,) = instance.get_runs()
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = {
        evaluation.check_name: evaluation
        for event in events
        if event.dagster_event and (evaluation := event.dagster_event.asset_check_evaluation_data)
    }
    with home_instance(tagged.root) as instance:
        ran = {key.to_user_string() for key in instance.get_asset_keys()}
    expected = {key.name for key in checks if key.asset_key.to_user_string() in ran}
    assert found.keys() == expected
    assert len(found) >= 6
    for name, evaluation in found.items():
        assert evaluation.passed, name
        assert str(evaluation.description).endswith("."), name
    assert (
        found["every_image_has_tag_scores"].description == "All 10 images with an embedding have tag scores."
    )


def test_a_check_that_fails_names_the_files(tagged: Home) -> None:
    late = tagged.root.parent / "library" / "a" / "late.png"
    draw(late, seed=7)
    result = ingest.images_and_rejects_cover_the_folder(VistagResource(home=str(tagged.root)))
    late.unlink()
    assert isinstance(result, dg.AssetCheckResult)
    assert not result.passed
    assert result.description == (
        "1 of 12 image files are neither images nor rejects; run their folders again: a/late.png."
    )


@pytest.mark.slow
def test_only_the_first_folders_of_a_run_are_previewed(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    for number in range(PREVIEWED_FOLDERS):  # beside the two that it has
        for seed in (2 * number, 2 * number + 1):
            draw(tmp_path / "library" / f"z{number:02d}" / f"{seed}.png", seed=1000 + seed)
    tag(home, tmp_path / "library")
    shown = {
        asset: sum("preview" in metadata for metadata in materialised(home, asset).values())
        for asset in IN_EVERY_TIER
    }
    assert shown["proxies"] == shown["images"] == shown["global_embeddings"] == PREVIEWED_FOLDERS
    assert max(shown.values()) == PREVIEWED_FOLDERS  # random models find no tag in some folders


@pytest.mark.slow
def test_every_asset_of_the_whole_graph_shows_pictures(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    from demo.corpus import make_corpus

    make_corpus(tmp_path / "demo", images=6, folders=1, workers=1)
    write_settings(home, Settings(tier="demo"))
    tag(home, tmp_path / "demo" / "library")
    [folder] = materialised(home, "images")
    for asset in IN_EVERY_TIER | WHERE_A_TIER_NAMES_THE_MODEL:
        assert_shown(home, asset, folder)
    empty = {
        asset
        for asset in IN_EVERY_TIER | WHERE_A_TIER_NAMES_THE_MODEL
        if not materialised(home, asset)[folder][ROW_COUNT].value
    }
    assert empty <= {"ocr_text"}
    assert_shown(home, "depth_maps", folder, expect_work=False)
    assert_shown(home, "tagger_scores", folder, expect_work=False)
    [sheet] = materialised(home, "contact_sheet").values()
    assert "data:image/jpeg" in sheet["preview"].value
