"""Queries over the index of a real home: what is found, what is left out, what is told."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image
from small_library import draw, tag, use_tier
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner, Result

from resources.home import Home
from resources.lake import embedding_matrix
from resources.workspace import Workspace, open_workspace
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app
from vistag_assets.runs import find_library, tag_folders
from vistag_assets.search.page import search_page
from vistag_assets.search.query import Hit, Query, Searcher, SearchError, search
from vistag_assets.search.sources import index_directory
from vistag_assets.search.updating import update_all

EVERYTHING = 0.0
"""A score from which on all is shown."""


@pytest.fixture(scope="module")
def workspace(tagged_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Ten images in two folders, of which the run made the index. Only to be read."""
    root = tmp_path_factory.mktemp("search")
    shutil.copytree(tagged_once / "home", root / "home")
    return open_workspace(Home(root / "home"))


@pytest.fixture(scope="module")
def searcher(workspace: Workspace) -> Searcher:
    return Searcher(workspace)


def embedded(workspace: Workspace) -> tuple[list[tuple[str, str]], np.ndarray]:
    rows = workspace.lake.read_all("global_embeddings")
    places = list(zip(rows["folder"].to_pylist(), rows["id"].to_pylist(), strict=True))
    return places, embedding_matrix(rows["embedding"])


def test_the_run_of_a_folder_makes_its_index(workspace: Workspace) -> None:
    (updated, _) = update_all(workspace)
    assert (updated.kept, updated.added, updated.dropped) == (10, 0, 0)


def test_words_find_what_the_cosines_say(workspace: Workspace, searcher: Searcher) -> None:
    hits = searcher.search(Query(text="some odd words", within="images", min_score=EVERYTHING))
    places, vectors = embedded(workspace)
    cosines = vectors @ workspace.encoder.embed_texts(["some odd words"])[0]
    assert [(hit.folder, hit.id) for hit in hits] == [places[n] for n in np.argsort(-cosines)]
    assert np.allclose([hit.cosines[0] for hit in hits], np.sort(cosines)[::-1], atol=1e-3)
    assert all(hit.path.startswith(("a/", "b/")) for hit in hits)


def test_a_concept_is_looked_for_as_it_is_tagged(workspace: Workspace, searcher: Searcher) -> None:
    hits = searcher.search(Query(text="vases", within="images", min_score=EVERYTHING))
    scores = workspace.lake.read_all("tag_scores")
    own = scores.filter(pc.and_(pc.equal(scores["concept_id"], "vase"), pc.is_null(scores["inherited_from"])))
    known = dict(zip(own["id"].to_pylist(), own["probability"].to_pylist(), strict=True))
    assert len(hits) == 10
    assert known
    for hit in hits:
        assert hit.id not in known or hit.score == pytest.approx(known[hit.id], abs=1e-3)


def test_a_picture_finds_itself_first(workspace: Workspace, tagged_once: Path, searcher: Searcher) -> None:
    picture = Image.open(tagged_once / "library" / "a" / "3.png").convert("RGB")
    hits = searcher.search(Query(image=picture, min_score=EVERYTHING))
    assert hits[0].path == "a/3.png"
    assert hits[0].score == pytest.approx(1, abs=0.01)
    assert hits == search(workspace, Query(image=picture, min_score=EVERYTHING))


def test_an_example_of_the_lake_is_not_found_itself(searcher: Searcher, workspace: Workspace) -> None:
    places, vectors = embedded(workspace)
    hits = searcher.search(Query(like=places[0][1], min_score=EVERYTHING))
    order = [places[n] for n in np.argsort(-(vectors @ vectors[0])) if places[n][1] != places[0][1]]
    assert [(hit.folder, hit.id) for hit in hits] == order


def test_filters_leave_out_and_nothing_else(workspace: Workspace, searcher: Searcher) -> None:
    def ids(**filters: Any) -> set[str]:
        query = Query(text="vase", within="images", min_score=EVERYTHING, top=100, **filters)
        return {hit.id for hit in searcher.search(query)}

    keys = workspace.lake.folders("images")
    everything = ids()
    assert len(everything) == 10
    assert ids(folders=(keys[0],)) == set(workspace.lake.read("images", keys[0])["id"].to_pylist())
    assert ids(since=date(2000, 1, 1)) == everything
    assert ids(since=date(2999, 1, 1)) == set()
    tags = workspace.lake.read_all("tags").to_pylist()
    standing = {
        row["id"] for row in tags
        if row["concept_id"] == "bowl" and row["probability"] >= 0.5 and not row["needs_review"]
    }  # fmt: skip
    assert ids(tags=("bowl",)) == standing
    assert ids(not_tags=("Bowls",)) == everything - standing
    assert ids(state="review") == {row["id"] for row in tags if row["needs_review"]}
    assert ids(state="human") == set()


def test_what_is_not_to_be_there_and_words_beside_a_picture_change_the_order(
    searcher: Searcher, workspace: Workspace
) -> None:
    places, _ = embedded(workspace)
    like = places[0][1]

    def cosines(**query: Any) -> list[tuple[float, ...]]:
        return [hit.cosines for hit in searcher.search(Query(min_score=EVERYTHING, within="images", **query))]

    assert {len(each) for each in cosines(text="bowl", like=like)} == {2}
    assert {len(each) for each in cosines(text="bowl", like=like, without=("vase",))} == {3}
    of_words, of_picture = (
        cosines(text="bowl", like=like, text_weight=1.0),
        cosines(text="bowl", like=like, text_weight=0.0),
    )
    assert [each[0] for each in of_words] == sorted((each[0] for each in of_words), reverse=True)
    assert [each[1] for each in of_picture] == sorted((each[1] for each in of_picture), reverse=True)


def test_nothing_below_the_cut_off_is_shown(searcher: Searcher) -> None:
    query = Query(text="vase", within="images", min_score=EVERYTHING)
    scores = [hit.score for hit in searcher.search(query)]
    assert scores == sorted(scores, reverse=True)
    between = (scores[3] + scores[4]) / 2
    assert len(searcher.search(Query(text="vase", within="images", min_score=between))) == 4


def test_a_folder_that_is_gone_is_not_found(tagged_home: Home) -> None:
    workspace = open_workspace(tagged_home)
    searcher, query = Searcher(workspace), Query(text="vase", within="images", min_score=EVERYTHING)
    assert len(searcher.search(query)) == 10
    gone, _ = tagged_home.folders()
    tagged_home.mark_gone(gone)
    assert {hit.folder for hit in searcher.search(query)} == {gone.key.replace("--a", "--b")}


def test_a_new_folder_is_found_by_the_searcher_that_was_there_before(
    tagged_home: Home, tmp_path: Path
) -> None:
    workspace = open_workspace(tagged_home)
    searcher, query = Searcher(workspace), Query(text="vase", within="images", min_score=EVERYTHING)
    assert len(searcher.search(query)) == 10
    library = tmp_path / "more"
    draw(library / "c" / "new.png", seed=900)
    tag_folders(
        tagged_home, find_library(library, "more", tagged_home), watcher=lambda stage, done, total: None
    )
    assert len(searcher.search(query)) == 11


# ---- the command, and what is wrong


def say(home: Home, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["search", *map(str, arguments), "--home", str(home.root)])


def test_the_command_gives_json_a_table_and_a_page(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    home = workspace.home
    told = say(home, "vase", "--within", "images", "--min-score", 0, "--top", 3, "--json", "--open")
    assert told.exit_code == 0, told.output
    hits = json.loads(told.stdout)["hits"]
    assert len(hits) == 3
    assert hits[0].keys() == set(Hit.__slots__)
    page = search_page(home)
    assert opened == [page.absolute().as_uri()]
    assert page.read_text().count("data:image/jpeg") == 3
    assert hits[0]["path"] in say(home, "vase", "--within", "images", "--min-score", 0).stdout
    assert "Nothing is like it" in say(home, "vase", "--min-score", 1).stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Nothing is looked for: give words, a picture, or something in the lake"),
        (["--image", "{broken}"], "broken.jpg cannot be used: "),
        (["--image", "{gone}"], "gone.png: No such file"),
        (
            ["--region", "{picture}", "0,0,400,400"],
            "The region 0,0,400,400 is not inside the picture, which is 32 x 24 pixels",
        ),
        (["--region", "{picture}", "0.9,0,0.2,0.5"], "is not inside the picture"),
        (["--region", "{picture}", "1,2"], "'1,2' is no region: give x,y,width,height"),
        (["--region", "{picture}", "nan,0,1,1"], "its numbers have to be finite"),
        (["--like", "f" * 32], "is no image and no region of"),
        (["--like", "0123456789ab-r7"], "No regions are indexed"),
        (["vase", "--tag", "vaze"], "No concept of the vocabulary is called 'vaze'; did you mean"),
        (["vase", "--state", "odd"], "--state odd: give human, machine, rejected or review."),
        (["vase", "--since", "yesterday"], "--since yesterday: give a day such as 2024-05-31."),
        (["vase", "--folder", "/nowhere"], "--folder /nowhere: no image of it is in"),
        (["vase", "--within", "regions"], "No regions are indexed"),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    arguments: list[str], sentence: str, workspace: Workspace, tmp_path: Path
) -> None:
    draw(tmp_path / "picture.png", seed=1)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    files = {
        name: tmp_path / f"{name}.{end}"
        for name, end in (("picture", "png"), ("broken", "jpg"), ("gone", "png"))
    }
    told = say(workspace.home, *(each.format(**files) for each in arguments))
    assert told.exit_code == 1, told.output
    assert sentence in " ".join(told.stderr.split())


def test_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    told = say(Home(tmp_path / "empty"), "vase")
    assert told.exit_code == 1
    assert "Run vistag on a folder first" in told.stderr


def test_a_damaged_index_is_told_to_who_holds_it_and_made_anew_by_the_command(tagged_home: Home) -> None:
    workspace = open_workspace(tagged_home)
    (vectors,) = index_directory(tagged_home, "image_index").rglob("vectors.f16")
    vectors.write_bytes(b"\0" * vectors.stat().st_size)
    (found,) = verify_home(tagged_home).faults
    assert found.kind == "damaged_index"
    with pytest.raises(SearchError, match=r"holds something else than was written\. vistag search --home"):
        Searcher(workspace).search(Query(text="vase", within="images"))
    told = say(tagged_home, "vase", "--min-score", 0)
    assert told.exit_code == 0
    assert "quarantine" in told.stderr
    assert len(Searcher(workspace).search(Query(text="vase", within="images", min_score=EVERYTHING))) == 10


def test_an_index_of_another_encoder_is_named_and_made_anew_of_what_the_new_one_embedded(
    tagged_home: Home, tmp_path: Path, tagged_once: Path
) -> None:
    was = open_workspace(tagged_home)
    use_tier(tagged_home, tmp_path, save_tiny_siglip(tmp_path / "other", seed=7))
    (tmp_path / "vocabulary.csv").write_bytes((tagged_once / "vocabulary.csv").read_bytes())
    now = open_workspace(tagged_home)
    with pytest.raises(
        SearchError, match=r"was made by the encoder tiny, and this home's tier tiny names other"
    ):
        Searcher(now).search(Query(text="vase", within="images"))
    # rows of another encoder are no neighbours of its vectors
    assert [(updated.kept, updated.added) for updated in update_all(now)] == [(0, 0), (0, 0)]
    with pytest.raises(SearchError, match="No images are indexed"):
        Searcher(now).search(Query(text="vase"))
    tag(tagged_home, tagged_once / "library")
    assert len(Searcher(now).search(Query(text="vase", within="images", min_score=EVERYTHING))) == 10
    with pytest.raises(SearchError, match="was made by the encoder other"):
        Searcher(was).search(Query(text="vase", within="images"))
