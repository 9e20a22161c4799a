"""The queue of a lake, and who gets what of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hand_made_lake import FOLDER, IDS, make_home, tables, write

from resources.decisions import Event
from resources.home import FolderRef, Home
from resources.lake import MissingPartition
from resources.tables import REVIEW_QUEUE
from resources.workspace import Workspace, open_workspace
from vistag_assets.review.desk import SECOND, Desk, Item
from vistag_assets.review.likeness import Place, most_alike, nearest
from vistag_assets.review.queue import make_queue, update_queue

A, B, C = IDS
REGION = f"{A[:12]}-r2"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(make_home(tmp_path))


def say(workspace: Workspace, who: str, verdict: str, image: str, concept: str | None, **more: Any) -> Event:
    event = Event(who=who, verdict=verdict, image_id=image, concept_id=concept, **more)  # type: ignore[arg-type]
    return workspace.decisions.append([event])[0]


def pairs(rows: pa.Table, *, chosen: bool = True) -> set[tuple[str, str]]:
    return {
        (row["id"], row["concept_id"]) for row in rows.to_pylist() if not chosen or row["reason"] != "uniform"
    }


def test_the_queue_asks_about_what_the_machine_says_and_nobody_decided(workspace: Workspace) -> None:
    rows = update_queue(workspace)
    assert rows.schema.equals(REVIEW_QUEUE.schema)
    assert workspace.lake.read("review_queue").equals(rows)
    # a's bowl is accepted and b's rejected in the rows of this home, which is from before there was a log
    asked = pairs(rows, chosen=False)
    assert {(A, "vase"), (A, "spotlight"), (B, "vase")} <= asked
    assert not {(A, "bowl"), (B, "bowl")} & asked
    [vase] = [row for row in rows.to_pylist() if (row["id"], row["concept_id"]) == (A, "vase")]
    assert vase["folder_key"] == FOLDER
    assert (vase["region_id"], vase["reason"]) == (REGION, "no_positive")
    assert vase["shown"] == "0" * 16
    assert vase["probability"] == pytest.approx(0.8)
    assert rows["rank"].to_pylist() == list(range(1, rows.num_rows + 1))


def test_one_row_in_twenty_is_drawn_from_all_pairs(workspace: Workspace) -> None:
    rows = update_queue(workspace)
    drawn = [row for row in rows.to_pylist() if row["is_uniform"]]
    assert 0.04 < len(drawn) / rows.num_rows < 0.3
    assert all(0 < row["inclusion_probability"] <= 1 for row in drawn)
    assert {row["inclusion_probability"] for row in rows.to_pylist() if not row["is_uniform"]} == {None}
    assert rows.equals(make_queue(workspace)), "made anew it is the same"


def test_the_queue_is_made_anew_where_somebody_said_something_and_only_there(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vistag_assets.review import queue

    rows = update_queue(workspace)
    with monkeypatch.context() as nothing_new:
        nothing_new.setattr(queue, "make_queue", None)
        assert update_queue(workspace).equals(rows)
    workspace.lake.data_file("review_queue").write_bytes(b"damaged")
    assert update_queue(workspace).equals(rows)
    say(workspace, "ada", "skip", A, "vase")
    assert (A, "vase") not in pairs(update_queue(workspace), chosen=False)
    write(workspace.home, "tags", [row for row in tables()["tags"] if row["id"] == B])
    shown = {(row["id"], row["concept_id"]): row["shown"] for row in update_queue(workspace).to_pylist()}
    assert shown[A, "spotlight"] is None, "no tag any more, though still among the scores"


def test_what_looks_like_a_confirmed_one_is_asked_about_though_no_model_names_it(
    workspace: Workspace,
) -> None:
    vectors = {f"{A[:12]}-r1": 0, f"{B[:12]}-r1": 0, f"{C[:12]}-r1": 1}
    ids = {A[:12]: A, B[:12]: B, C[:12]: C}
    embeddings = [
        {
            "id": ids[region[:12]],
            "region_id": region,
            "embedding": np.eye(2, 224, dtype=np.float16)[axis],
            "masked_embedding": None,
        }
        for region, axis in vectors.items()
    ]
    write(workspace.home, "region_embeddings", embeddings)
    say(workspace, "ada", "accept", A, "lyre", region_id=f"{A[:12]}-r1")
    rows = [row for row in update_queue(workspace).to_pylist() if row["reason"] != "uniform"]
    found = {row["id"]: row for row in rows if row["concept_id"] == "lyre"}
    assert (found[B]["reason"], found[B]["region_id"], found[B]["probability"]) == (
        "neighbour",
        f"{B[:12]}-r1",
        0,
    )
    assert found[B]["rank"] < found.get(C, {"rank": 10**9})["rank"]
    assert A not in found


def test_the_nearest_are_found_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = [Place(f"{n}", None) for n in range(500)]
    monkeypatch.setattr("vistag_assets.review.likeness._CELLS_AT_ONCE", 1100)
    [(_, found)] = nearest({"vase": vectors[:7]}, places, vectors, 20)
    cosine = np.sort((vectors[:7] @ vectors.T).max(axis=0))[::-1]
    assert [near.cosine for near in most_alike(found, 20).values()] == pytest.approx(cosine[:20])
    [(_, closer)] = nearest({"vase": vectors[:7]}, places, vectors, 20, {"vase": float(cosine[9])})
    assert {near.place for near in closer} == {near.place for near in most_alike(found, 9).values()}
    assert [*nearest({"vase": vectors[:7]}, places, vectors, 20, {"vase": 2.0})] == []


def test_of_files_that_show_one_picture_one_is_asked_about(workspace: Workspace) -> None:
    home = workspace.home
    home.register(FolderRef("lib--z", "lib", str(home.root / "library"), "z"))
    images = home.lake.read("images", FOLDER).append_column("pixel_hash", pa.array(["p", "q", "r"]))
    home.lake.write("images", images, FOLDER)
    copy = images.slice(0, 1).set_column(0, "id", pa.array(["d" * 32]))
    home.lake.write("images", copy, "lib--z")
    tags = home.lake.read("tags", FOLDER)
    home.lake.write("tags", tags.slice(1, 1).set_column(0, "id", pa.array(["d" * 32])), "lib--z")
    rows = update_queue(workspace).to_pylist()
    assert {row["id"] for row in rows} == set(IDS)
    assert {row["pixel_hash"] for row in rows if row["id"] == A} == {"p"}
    # what is said of the copy is said of the picture
    say(workspace, "ada", "accept", "d" * 32, "vase", pixel_hash="p")
    assert (A, "vase") not in pairs(update_queue(workspace), chosen=False)


def test_what_was_said_of_a_replaced_concept_is_not_asked_of_its_successor(workspace: Workspace) -> None:
    say(workspace, "ada", "reject", A, "old-vase")
    assert (A, "vase") in pairs(update_queue(workspace))
    object.__setattr__(workspace.taxonomy, "replaced", {"old-vase": "vase"})
    assert (A, "vase") not in pairs(update_queue(workspace), chosen=False)


def test_a_home_without_tags_or_pictures_has_an_empty_queue(tmp_path: Path) -> None:
    assert update_queue(open_workspace(Home(tmp_path))).num_rows == 0


# ---- the desk


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(workspace: Workspace, clock: Clock) -> Desk:
    update_queue(workspace)
    return Desk(workspace, clock)


def ranks(items: list[Item]) -> list[int]:
    return [item.rank for item in items]


def test_two_people_get_different_pairs_in_the_order_of_the_queue(desk: Desk, clock: Clock) -> None:
    assert ranks(desk.next_batch("ada", 2)) == [1, 2]
    assert ranks(desk.next_batch("bob", 2)) == [3, 4]
    assert ranks(desk.next_batch("bob", 1)) == [3]
    assert ranks(desk.next_batch("cyd", 1)) == [4], "what bob let go of"
    clock.now_s += 601
    assert ranks(desk.next_batch("bob", 3)) == [1, 2, 3]


def test_what_was_decided_is_not_handed_out_and_an_undo_brings_it_back(
    desk: Desk, workspace: Workspace
) -> None:
    first, second = desk.next_batch("ada", 2)
    said = say(workspace, "ada", "reject", first.id, first.concept_id)
    assert ranks(desk.next_batch("ada", 2)) == [2, 3]
    assert first not in desk.open_items()
    assert sum(desk.waiting().values()) == len(desk.open_items())
    say(workspace, "ada", "undo", first.id, first.concept_id, undoes=said.seq)
    assert desk.next_batch("ada", 2) == [first, second]


def test_what_one_person_could_not_tell_another_may(desk: Desk, workspace: Workspace) -> None:
    [first] = desk.next_batch("ada", 1)
    say(workspace, "ada", "skip", first.id, first.concept_id)
    assert ranks(desk.next_batch("ada", 1)) == [2]
    assert desk.next_batch("bob", 1) == [first]


def test_a_screen_is_of_one_concept_where_that_is_asked_for(desk: Desk) -> None:
    [first] = desk.next_batch("ada", 1)
    screen = desk.next_batch("ada", 24, one_concept=True)
    assert {item.concept_id for item in screen} == {first.concept_id}
    assert {item.concept_id for item in desk.next_batch("bob", 2, concept_id="vase")} == {"vase"}
    assert desk.next_batch("bob", 2, concept_id="no such concept") == []


def test_a_second_person_is_asked_about_what_the_first_decided_and_not_the_first(
    desk: Desk, workspace: Workspace
) -> None:
    first = desk.next_batch("ada", 3)
    for item in first:
        say(workspace, "ada", "accept", item.id, item.concept_id)
    update_queue(workspace)  # in which they are not any more
    of_nobody_known = {item.pair for item in desk.next_batch("ada", 9, second_opinion=True)}
    assert of_nobody_known == {(A, "bowl"), (B, "bowl")}, "of the rows of this home"
    desk.give_back("ada")
    again = desk.next_batch("bob", 9, second_opinion=True)
    assert {item.pair for item in again} == {item.pair for item in first} | of_nobody_known
    assert {item.reason for item in again} == {SECOND}
    say(workspace, "bob", "reject", again[0].id, again[0].concept_id)
    desk.give_back("bob")
    assert desk.next_batch("cyd", 9, second_opinion=True) == again[1:]


def test_the_desk_sees_a_queue_that_another_process_made(desk: Desk, workspace: Workspace) -> None:
    assert len(desk.open_items()) > 1
    rows = workspace.lake.read("review_queue").slice(0, 1)
    open_workspace(workspace.home).lake.write("review_queue", rows)
    assert len(desk.open_items()) == 1


def test_without_a_queue_the_desk_says_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(MissingPartition, match="materialise review_queue first"):
        Desk(workspace).next_batch("ada")


def test_no_column_of_an_old_home_is_needed(workspace: Workspace) -> None:
    home = workspace.home
    tags = home.lake.read("tags", FOLDER)
    later = [name for name in ("inherited_from", "decision", "iri", "notation") if name in tags.column_names]
    home.lake.write("tags", tags.drop_columns(later), FOLDER)
    assert (A, "vase") in pairs(update_queue(workspace))
