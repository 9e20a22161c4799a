"""Decisions over HTTP: kept once, in order, on the disk when they are answered, and taken from nobody else's page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from app_client import Client, listening_app

from benchmarks.decisions import free_port, measure
from resources.home import Home
from resources.web.guard import TOKEN, Guard, NoToken
from vistag_assets.app.server import serve
from vistag_assets.tags.decided import ACCEPTED, decided_in


@pytest.fixture
def client(tagged_home: Home) -> Iterator[Client]:
    with listening_app(tagged_home) as client:
        yield client


def picture(home: Home) -> tuple[str, dict[str, Any]]:
    key = home.lake.folders("images")[0]
    return key, home.lake.read("images", key).to_pylist()[0]


def said(home: Home, **more: object) -> dict[str, object]:
    key, image = picture(home)
    return {
        "folder": key, "image_id": image["id"], "concept_id": "vase", "verdict": "accept", "reviewer": "Ada",
        "client_id": "one", **more,
    }  # fmt: skip


def test_a_decision_is_kept_once_and_stands(client: Client, tagged_home: Home) -> None:
    key, image = picture(tagged_home)
    first = client.post("/api/decisions", said(tagged_home))
    assert first.status == 200
    assert first.json["path"] == image["path"]
    again = client.post("/api/decisions", said(tagged_home))
    assert again.json == first.json
    other = client.post("/api/decisions", said(tagged_home, verdict="reject"))
    assert other.status == 409
    assert "client_id" in other.json["detail"]
    assert client.get("/api/decisions?since=0").json == [first.json]
    assert client.get(f"/api/decisions?since={first.json['seq']}").json == []
    (line,) = decided_in(tagged_home.decisions, tagged_home.lake.read("images", key)).to_pylist()
    assert (line["id"], line["concept_id"], line["state"]) == (image["id"], "vase", ACCEPTED)
    (event,) = tagged_home.decisions.since()
    assert event.pixel_hash == image["pixel_hash"]


def test_an_undo_is_an_event_and_a_skip_says_nothing(client: Client, tagged_home: Home) -> None:
    images = tagged_home.lake.read("images", picture(tagged_home)[0])
    seq = client.post("/api/decisions", said(tagged_home)).json["seq"]
    client.post("/api/decisions", said(tagged_home, client_id="two", verdict="skip"))
    assert decided_in(tagged_home.decisions, images).num_rows == 1
    client.post("/api/decisions", said(tagged_home, client_id="three", verdict="undo", undoes=seq))
    assert decided_in(tagged_home.decisions, images).num_rows == 0
    lines = client.get("/api/decisions").json
    assert [line["verdict"] for line in lines] == ["accept", "skip", "undo"]
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)


def test_a_picture_that_is_no_longer_there_is_decided_about_all_the_same(
    client: Client, tagged_home: Home
) -> None:
    answer = client.post("/api/decisions", said(tagged_home, image_id="f" * 32, folder="gone--long ago"))
    assert (answer.status, answer.json["path"]) == (200, None)


UNUSABLE: list[tuple[dict[str, object], str]] = [
    ({"verdict": "perhaps"}, "verdict"),
    ({"verdict": "correct"}, "correct needs the concept"),
    ({"verdict": "redraw"}, "redraw needs the box"),
    ({"verdict": "undo"}, "undo needs the number"),
    ({"concept_id": None}, "needs a concept or a phrase"),
    ({"image_id": ""}, "image_id"),
    ({"reviewer": "\ud800"}, "reviewer"),
    ({"reviewer": "a\u0000b"}, "reviewer"),
    ({"client_id": "x" * 501}, "client_id"),
    ({"box": [0, 0, 2, 1]}, "box"),
    ({"seq": 7}, "seq"),
    ({"undoes": 2**70, "verdict": "undo"}, "undoes"),
]


def test_what_cannot_stand_is_told_and_not_kept(client: Client, tagged_home: Home) -> None:
    for changed, told in UNUSABLE:
        answer = client.post("/api/decisions", said(tagged_home, **changed))
        assert answer.status == 422, changed
        assert told in answer.json["detail"]
    assert client.get("/api/decisions").json == []


def test_many_at_one_moment_are_all_kept(client: Client, tagged_home: Home) -> None:
    answered: list[int] = []

    def post(number: int) -> None:
        answer = client.post("/api/decisions", said(tagged_home, client_id=str(number)))
        answered.append(answer.json["seq"])

    threads = [threading.Thread(target=post, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answered) == [line["seq"] for line in client.get("/api/decisions").json]
    assert len(set(answered)) == 40


def test_pages_of_others_and_their_names_are_refused(client: Client, tagged_home: Home) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert client.post("/api/decisions", said(tagged_home), **headers).status == 403
    for path, methods in client.get("/openapi.json").json["paths"].items():
        for method in methods:
            ask = client.get if method == "get" else partial(client.post, body={})
            assert ask(path, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status == 403
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/api/decisions", said(tagged_home), **form).status == 415
    assert client.get("/api/decisions").json == []
    health = client.get("/health")
    assert health.status == 200
    assert "script-src 'self'" in health.headers["content-security-policy"]


def test_the_guard_takes_no_media_type_that_a_page_can_send_unasked(client: Client) -> None:
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
        with pytest.raises(ValueError, match=kind):
            Guard(Guard(None), takes=[kind])  # type: ignore[arg-type]
    for kind, status in (
        ("image/jpeg", 400),
        ("IMAGE/PNG", 400),
        ("application/octet-stream", 400),
        ("video/mp4", 415),
    ):
        assert client.post("/caption", b"", **{"Content-Type": kind}).status == status


def test_others_than_this_machine_need_a_token(tagged_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    for host, names in (("0.0.0.0", []), ("::", []), ("192.0.2.1", []), ("127.0.0.1", ["photos.example"])):
        with pytest.raises(NoToken, match=TOKEN):
            serve(tagged_home, host, free_port(), names, on_ready=print, warm=False)
    monkeypatch.setenv(TOKEN, "a token that is hard to guess")
    with listening_app(tagged_home) as client:
        assert client.get("/health").status == 401
        assert (
            client.get("/api/decisions", Authorization="Bearer a token that is hard to guess").status == 200
        )


def test_a_log_that_cannot_be_used_is_told(client: Client, tagged_home: Home) -> None:
    (tagged_home.root / "decisions.sqlite").write_text("no database" * 100)
    answer = client.post("/api/decisions", said(tagged_home))
    assert answer.status == 503
    assert "backup" in answer.json["detail"]


@pytest.mark.slow
def test_no_answered_decision_is_lost_or_doubled_when_the_server_is_killed() -> None:
    held = measure(clients=8, decisions=400, kills=3)
    assert held.asked_again > 0
    assert (held.answered, held.lost, held.doubled, held.out_of_order) == (400, 0, 0, 0)
