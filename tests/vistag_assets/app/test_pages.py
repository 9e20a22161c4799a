"""The pages over a lake: what they show, in which order, and that nothing of a stranger's is more than text."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from app_client import Client, listening_app
from hand_made_lake import FOLDER, HOSTILE, IDS, make_home
from PIL import Image

from resources.decisions import Event
from resources.home import Home, Settings, write_settings

A, B, C = IDS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("pages") / "home")


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[Client]:
    with listening_app(home) as client:
        yield client


def shown(client: Client, path: str) -> list[str]:
    """Ids of the pictures of a page of the library, in their order."""
    page = client.get(path).body.decode()
    return [part.split("?")[0].split('"')[0] for part in page.split(f'href="/image/{FOLDER}/')[1:]]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [A, B, C]),
        ("?page=7", [A, B, C]),
        (f"?folder={FOLDER}", [A, B, C]),
        ("?folder=other", []),
        ("?words=bowl", [A]),
        ("?words=TWO+VASES", [A]),
        ("?words=2.jpg", [B]),
        ("?words=%25", []),
        ("?tag=vase", [A, B]),
        ("?tag=bowl", [A]),
        ("?tag=nothing", []),
        ("?review=on", [C]),
        ("?tag=vase&words=vessel", [B]),
        ("?words='%20or%201=1%20--", []),
    ],
)
def test_the_library_shows_what_is_asked_for(client: Client, query: str, ids: list[str]) -> None:
    assert shown(client, f"/{query}") == ids


def test_what_strangers_wrote_is_text(client: Client) -> None:
    for path in (
        "/",
        f"/image/{FOLDER}/{C}",
        f"/image/{FOLDER}/{A}",
        f"/?words={HOSTILE}",
        f"/search?text={HOSTILE}",
    ):
        reply = client.get(path)
        page = reply.body.decode()
        assert reply.status == 200
        assert HOSTILE not in page
        assert "alert(" in page or path == f"/image/{FOLDER}/{A}"
        assert "script-src 'self'" in reply.headers["content-security-policy"]


def test_a_picture_is_shown_with_everything_behind_its_tags(client: Client) -> None:
    page = client.get(f"/image/{FOLDER}/{A}").body.decode()
    for text in (
        "two vases and a sword",
        "GALLERY 5",
        "a bowl on a shelf",
        "crop confirmed",
        "0.90",
        f"{A[:12]}-r1",
    ):
        assert text in page
    # the lake says that a person set it; the log, which has the last word, knows of none yet
    assert 'data-state="machine"' in page
    assert f"/image/{FOLDER}/{B}" in page
    assert client.get(f"/image/{FOLDER}/{B}?tag=vase").body.decode().count('id="after"') == 0


def test_what_people_said_is_shown_at_once(home: Home, client: Client) -> None:
    said = Event(who="Grace", verdict="reject", image_id=B, concept_id="vase", folder=FOLDER)
    drawn = replace(
        said, verdict="redraw", concept_id="sword", box=(0.1, 0.2, 0.3, 0.4), client_id="drawn", who="Ada"
    )
    seqs = [event.seq for event in home.decisions.append([said, drawn])]
    page = client.get(f"/image/{FOLDER}/{B}").body.decode()
    assert 'data-state="rejected"' in page
    assert "Grace" in page
    assert f'data-region="drawn-{seqs[1]}" data-box="0.1 0.2 0.3 0.4"' in page
    home.decisions.append([replace(said, verdict="undo", undoes=seqs[0], client_id="back")])
    assert 'data-state="rejected"' not in client.get(f"/image/{FOLDER}/{B}").body.decode()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/image/{FOLDER}/{'f' * 32}", 404),
        (f"/image/other/{A}", 404),
        (f"/image/..%2f..%2fetc/{A}", 404),
        (f"/picture/other/{A}", 404),
        ("/picture/%2e%2e/passwd", 404),
        (f"/picture/{FOLDER}/{A}?side=100000", 422),
        (f"/crop/{FOLDER}/{A}?x=0.1&y=0.1&w=nan&h=0.1", 422),
        ("/static/../server.py", 404),
        ("/static/%2e%2e/server.py", 404),
        ("/?page=0", 422),
        ("/docs", 404),
    ],
)
def test_what_is_not_there_is_told(client: Client, path: str, status: int) -> None:
    as_page = client.get(path, Accept="text/html")
    assert as_page.status == status
    reply = client.get(path)
    assert reply.status == status
    assert reply.json["detail"]


def test_pictures_and_their_parts_are_as_large_as_asked(client: Client) -> None:
    sizes = {
        f"/picture/{FOLDER}/{A}": (400, 300),
        f"/picture/{FOLDER}/{A}?side=100": (100, 75),
        f"/crop/{FOLDER}/{A}?x=0.1&y=0.2&w=0.2&h=0.2&side=64": (64, 64),
    }
    for path, size in sizes.items():
        reply = client.get(path)
        with Image.open(io.BytesIO(reply.body)) as image:
            assert (image.format, image.size) == ("JPEG", size)


def test_concepts_are_found_by_the_beginnings_of_their_words(client: Client) -> None:
    found = client.get("/api/concepts?words=bottle").json
    assert found[0]["id"] == "bottle"
    assert "snuff-bottle" in [concept["id"] for concept in found]
    assert client.get("/api/concepts?words=zzzz").json == []
    assert len(client.get("/api/concepts?words=s").json) <= 12


def test_a_home_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    write_settings(home, Settings())
    with listening_app(home) as client:
        assert client.get("/health").status == 200
        assert "vistag run" in client.get("/").body.decode()
        queue = client.post("/api/review/next", {"reviewer": "Ada"})
        assert queue.status == 404
        assert "vistag run" in queue.json["detail"]
        asked = client.post("/caption", b"hello", **{"Content-Type": "image/jpeg"})
        assert asked.status == 503
        assert "vistag run" in asked.json["detail"]
        looked = client.post("/search", {"text": "a vase"})
        assert looked.status == 422


def test_folders_that_are_gone_are_not_shown(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    (file,) = (home.root / "folders").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"gone_since": "2026-01-01T00:00:00+00:00"}))
    with listening_app(home) as client:
        assert shown(client, "/") == []


def test_keywords_of_the_file_stand_beside_the_tags(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    images = home.lake.read("images", FOLDER)
    keywords = pa.array([[HOSTILE, "heirloom"], [], None], pa.list_(pa.string()))
    home.lake.write("images", images.append_column("keywords", keywords), FOLDER)
    with listening_app(home) as client:
        page = client.get(f"/image/{FOLDER}/{A}").body.decode()
        assert "heirloom" in page
        assert HOSTILE not in page
        assert "None were read" in client.get(f"/image/{FOLDER}/{C}").body.decode()


def test_a_damaged_table_hides_no_picture(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    for table in ("tags", "captions", "region_masks"):
        file = home.lake.data_file(table, FOLDER)
        assert isinstance(file, Path)
        file.write_bytes(b"PAR1 no more PAR1")
    with listening_app(home) as client:
        assert shown(client, "/") == [A, B, C]
        assert client.get(f"/image/{FOLDER}/{A}").status == 200
