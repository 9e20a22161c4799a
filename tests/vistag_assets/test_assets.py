"""The assets as Dagster runs them: real runs, on a real instance, with a real (tiny, random) model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from small_library import VOCABULARY, draw, draw_library, tag, use_tier
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home, read_settings, write_settings
from resources.lake import LakeError
from resources.models.encoders import Encoder, Pixels
from vistag_assets.runs import NoImagesError, evaluate, find_library
from vistag_assets.whole_image.best_tags import best_tags


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_siglip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def home(tmp_path: Path, checkpoint: Path) -> Home:
    home = Home(tmp_path / "home")
    (tmp_path / "vocabulary.csv").write_text(VOCABULARY)
    use_tier(home, tmp_path, checkpoint)
    return home


@pytest.fixture
def sent_to_the_model(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes that the model really got; the model still does its work."""
    batches: list[int] = []
    embed_pixels = Encoder.embed_pixels

    def counting(self: Encoder, pixels: Sequence[Pixels]) -> np.ndarray:
        batches.append(len(pixels))
        return embed_pixels(self, pixels)

    monkeypatch.setattr(Encoder, "embed_pixels", counting)
    return batches


def file_times(home: Home, *tables: str) -> dict[Path, int]:
    files = [path for table in tables for path in (home.root / "lake" / table).rglob("*.parquet")]
    files += (home.root / "proxies").rglob("*.jpg") if "proxies" in tables else []
    assert files
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_one_image_more_in_five_hundred_sends_one_image_to_the_model(
    tmp_path: Path, home: Home, sent_to_the_model: list[int]
) -> None:
    library = tmp_path / "library"
    for number in range(500):
        draw(library / f"{number:03d}.png", seed=number)
    assert tag(home, library).embedded == 500 == sum(sent_to_the_model)

    sent_to_the_model.clear()
    draw(library / "one more.png", seed=1000)
    outcome = tag(home, library)
    assert sent_to_the_model == [1]
    assert (outcome.images, outcome.embedded, outcome.scored) == (501, 1, 1)
    assert outcome.folders[0].decoded == 1


@pytest.fixture
def tagged(home: Home, tagged_once: Path) -> Path:
    """A library of two folders that has been tagged into `home`, and a file in it that is no image. Only to be read."""
    own = shutil.ignore_patterns("settings.json")
    shutil.copytree(tagged_once / "home", home.root, ignore=own, dirs_exist_ok=True)
    return tagged_once / "library"


@pytest.fixture
def tagged_alone(tmp_path: Path, home: Home) -> Path:
    """The same, of the test's own."""
    library = draw_library(tmp_path)
    tag(home, library)
    return library


def test_an_unchanged_folder_loads_no_model(
    tagged: Path, home: Home, sent_to_the_model: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_times(home, "images", "proxies", "global_embeddings", "concept_embeddings", "tag_scores")

    def refuse(self: Encoder) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Encoder, "load", refuse)
    again = tag(home, tagged)
    assert (again.images, again.embedded, again.scored, again.phrases_embedded) == (10, 0, 0, 0)
    assert sent_to_the_model == []
    assert (
        file_times(home, *("images", "proxies", "global_embeddings", "concept_embeddings", "tag_scores"))
        == before
    )


@pytest.mark.slow
def test_a_changed_taxonomy_embeds_its_new_phrases_and_no_image(
    tmp_path: Path, tagged: Path, home: Home, sent_to_the_model: list[int]
) -> None:
    before = file_times(home, "images", "proxies", "global_embeddings")
    (tmp_path / "vocabulary.csv").write_text(VOCABULARY + "ivory,ivory,,material,,\n")
    outcome = tag(home, tagged)
    assert sent_to_the_model == []
    assert outcome.scored == 10
    texts = home.lake.read("concept_embeddings", columns=["concept_id"])["concept_id"].to_pylist()
    assert outcome.phrases_embedded == texts.count("ivory") > 0
    assert file_times(home, "images", "proxies", "global_embeddings") == before


def test_another_model_recomputes_what_depends_on_it_and_decodes_nothing(
    tmp_path: Path, tagged: Path, home: Home, sent_to_the_model: list[int]
) -> None:
    before = file_times(home, "images", "rejects", "proxies")
    use_tier(home, tmp_path, save_tiny_siglip(tmp_path / "other", seed=1))
    outcome = tag(home, tagged)
    assert sum(sent_to_the_model) == outcome.embedded == outcome.scored == 10
    assert [folder.decoded for folder in outcome.folders] == [0, 0]
    assert file_times(home, "images", "rejects", "proxies") == before


def test_another_number_of_kept_tags_needs_no_model(
    tmp_path: Path, tagged: Path, home: Home, checkpoint: Path, sent_to_the_model: list[int]
) -> None:
    use_tier(home, tmp_path, checkpoint, keep_top=2)
    assert tag(home, tagged).scored == 10
    assert sent_to_the_model == []
    scores = home.lake.read_all("tag_scores")
    assert sorted(set(scores["rank"].to_pylist())) == [1, 2]


def test_the_tags_that_are_shown_earned_their_own_score(tagged: Path, home: Home) -> None:
    rows = home.lake.read("tag_scores", "lib--a").to_pylist()
    id_ = next(row["id"] for row in rows if row["inherited_from"])
    own = [row for row in rows if row["id"] == id_ and not row["inherited_from"]]
    shown = best_tags(home.lake, "lib--a", [id_], count=2)[id_]
    assert [tag.concept_id for tag in shown] == [row["concept_id"] for row in own[:2]]
    assert len(best_tags(home.lake, "lib--a", [id_], count=1)[id_]) == 1


def test_several_folders_are_one_run_of_dagster(tagged: Path, home: Home) -> None:
    from vistag_assets.automation.instance import home_instance

    with home_instance(home.root) as instance:
        (run,) = instance.get_runs()
        assert run.is_success
        assert run.tags["dagster/asset_partition_range_start"] == "lib--a"
        assert run.tags["dagster/asset_partition_range_end"] == "lib--b"
        assert set(instance.get_dynamic_partitions("folder")) == {"lib--a", "lib--b"}


def test_a_run_ends_with_pairs_to_look_at_in_all_folders(tagged: Path, home: Home) -> None:
    queue = home.lake.read("review_queue").to_pylist()
    assert {row["folder_key"] for row in queue} == {"lib--a", "lib--b"}
    assert {row["concept_id"] for row in queue} == {"vessel", "vase", "bowl", "bronze"}


def test_a_folder_of_rejects_only_does_not_fail(tmp_path: Path, home: Home) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "a.jpg").write_text("no image")
    (library / "empty.png").touch()
    outcome = tag(home, library)
    assert (outcome.images, outcome.rejects, outcome.embedded) == (0, 2, 0)


def test_rows_of_a_removed_file_and_of_an_emptied_folder_go(tagged_alone: Path, home: Home) -> None:
    (tagged_alone / "a" / "0.png").unlink()
    for path in (tagged_alone / "b").iterdir():
        path.unlink()
    outcome = tag(home, tagged_alone)
    assert {folder.folder.relative: folder.images for folder in outcome.folders} == {"a": 4, "b": 0}
    assert set(home.lake.read_all("tag_scores")["folder"].to_pylist()) == {"lib--a"}


def test_no_images_is_said(tmp_path: Path, home: Home) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NoImagesError, match="no images"):
        find_library(tmp_path / "nothing", "lib", home)


def test_a_failing_stage_fails_its_run_and_raises_its_own_error(tagged_alone: Path, home: Home) -> None:
    from vistag_assets.automation.instance import home_instance

    draw(tagged_alone / "a" / "new.png", seed=77)
    table = home.lake.data_file("concept_embeddings")
    (table.parent / "folder=x").mkdir()
    table.rename(table.parent / "folder=x" / table.name)
    with pytest.raises(LakeError, match="concept_embeddings exists with partitions"):
        tag(home, tagged_alone)
    with home_instance(home.root) as instance:
        assert instance.get_runs(limit=1)[0].is_failure


def write_truth(path: Path, tags: dict[str, str]) -> None:
    concepts = ["bowl", "bronze", "vase"]
    path.write_text(
        json.dumps(
            {
                "images": [{"id": number, "file_name": name} for number, name in enumerate(tags)],
                "categories": [{"id": number, "name": name} for number, name in enumerate(concepts)],
                "annotations": [],
                "image_tags": [
                    {"image_id": number, "category_id": concepts.index(concept)}
                    for number, concept in enumerate(tags.values())
                ],
            }
        )
    )


@pytest.fixture
def annotate(home: Home) -> Callable[[dict[str, str]], None]:
    def write(tags: dict[str, str]) -> None:
        write_truth(home.ground_truth_path, tags)
        write_settings(home, read_settings(home).model_copy(update={"ground_truth_library": "lib"}))

    return write


def test_evaluation_ends_in_a_report_and_counts_images_that_are_not_in_the_lake(
    tagged: Path, home: Home, annotate: Callable[[dict[str, str]], None]
) -> None:
    from dagster import AssetKey

    from vistag_assets.automation.instance import home_instance

    annotate({"a/0.png": "vase", "a/1.png": "vase", "b/0.png": "bronze", "gone.png": "bowl"})
    evaluate(home)
    figures = json.loads((home.reports_dir / "long_tail.json").read_text())
    assert figures["images"] == 3
    assert figures["tag_recall"]["overall"]["5"]["micro"] == 1.0  # three tags kept of a vocabulary of three
    assert figures["throughput"]["global_embeddings"]["device"] == "cpu"
    assert "bronze" in (home.reports_dir / "long_tail.html").read_text()
    with home_instance(home.root) as instance:
        event = instance.get_latest_materialization_event(AssetKey("ground_truth"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["images_not_in_lake"].value == 1


def test_a_ground_truth_of_other_files_is_refused(
    tagged: Path, home: Home, annotate: Callable[[dict[str, str]], None]
) -> None:
    annotate({"elsewhere/0.png": "vase"})
    with pytest.raises(Exception, match=r"elsewhere/0\.png"):
        evaluate(home)
