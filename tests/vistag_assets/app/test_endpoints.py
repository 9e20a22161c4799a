"""What other programs are answered is what a run would have written, row for row."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from app_client import Client, Reply

from resources.home import Home
from vistag_assets.app.answering import TARGETS
from vistag_assets.app.endpoints import AT_ONCE, MOST_MIB, WAITING

pytestmark = pytest.mark.slow
KINDS = tuple(TARGETS)
JPEG = {"Content-Type": "image/jpeg"}


def pictures(home: Home) -> list[tuple[str, str, Path]]:
    """(folder, id, file) of all pictures."""
    found = []
    for key in home.lake.folders("images"):
        root = Path(home.folder(key).root)
        rows = home.lake.read("images", key, ["id", "path"]).to_pylist()
        found += [(key, row["id"], root / row["path"]) for row in rows]
    return found


def close(one: Any, other: Any) -> bool:
    """Equal, but for what a model computes a little differently beside other pictures in its batch."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == pytest.approx(other, abs=1e-4)) if isinstance(one, float) else bool(one == other)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_what_the_lake_holds(demo_client: Client, demo_home: Home, kind: str) -> None:
    key, id_, file = pictures(demo_home)[0]
    sent = demo_client.post(f"/{kind}", file.read_bytes(), **JPEG)
    named = demo_client.post(f"/{kind}", {"image": str(file)})
    assert (sent.status, named.status) == (200, 200), sent.body
    assert close(named.json, sent.json)
    assert sent.json["image"]["id"] == id_
    compared = 0
    for table in TARGETS[kind]:  # type: ignore[index]
        stored = demo_home.lake.rows_of(table, key, [id_])
        if stored is not None:
            assert close(sent.json[table], stored.to_pylist()), table
            compared += stored.num_rows
    assert compared > 0


def test_a_lane_can_be_asked_for(demo_client: Client, demo_home: Home) -> None:
    file = pictures(demo_home)[1][2]
    for lane in ("fast", "heavy"):
        (row,) = demo_client.post(f"/describe?lane={lane}", file.read_bytes(), **JPEG).json["descriptions"]
        assert row["lane"] == lane


def test_what_cannot_be_answered_is_told(demo_client: Client, demo_home: Home, tmp_path: Path) -> None:
    cases: list[tuple[int, object, dict[str, str]]] = [
        (422, b"no picture at all", JPEG),
        (422, b"", {"Content-Type": "application/json"}),
        (400, b"", JPEG),
        (413, b"\xff" * (MOST_MIB * 2**20 + 1), JPEG),
        (415, b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
        (404, {"image": "/etc/passwd"}, {}),
        (404, {"image": "../../../etc/passwd"}, {}),
        (422, {"image": ""}, {}),
        (422, {"image": "a", "more": 1}, {}),
    ]
    for status, body, headers in cases:
        reply = demo_client.post("/caption", body, **headers)
        assert reply.status == status, (body if len(str(body)) < 99 else status, reply.body)
    file = pictures(demo_home)[0][2]
    half = file.read_bytes()[: file.stat().st_size // 2]
    assert demo_client.post("/caption", half, **JPEG).status == 422


def test_pictures_are_found_by_words_by_pictures_and_by_what_is_in_the_lake(
    demo_client: Client, demo_home: Home
) -> None:
    _, id_, file = pictures(demo_home)[2]
    by_words = demo_client.post("/search", {"text": "a vessel", "top": 3, "min_score": 0})
    assert 0 < len(by_words.json) <= 3
    by_picture = demo_client.post("/search?top=1", file.read_bytes(), **JPEG).json
    assert by_picture[0]["id"] == id_
    like = demo_client.post("/search", {"like": id_, "top": 2, "min_score": 0}).json
    assert id_ not in [hit["id"] for hit in like]
    assert demo_client.post("/search", {"like": "no such"}).status == 422
    assert demo_client.post("/search", b"no picture", **JPEG).status == 422
    key = pictures(demo_home)[2][0]
    near = demo_client.get(f"/api/neighbours/{key}/{id_}?concept_id=vessel").json
    assert 0 <= near["carry"] <= near["pictures"] <= 10


def test_beyond_capacity_one_is_asked_to_wait_and_nobody_gets_an_error(
    demo_client: Client, demo_home: Home
) -> None:
    """Four times as many as are answered together or wait for that."""
    files = [file.read_bytes() for _, _, file in pictures(demo_home)]
    replies: list[Reply] = []

    def ask(number: int) -> None:
        replies.append(demo_client.post("/caption", files[number % len(files)], **JPEG))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4 * (AT_ONCE + WAITING))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) == {200, 429}, statuses
    assert statuses[200] >= AT_ONCE
    assert all(int(reply.headers["retry-after"]) > 0 for reply in replies if reply.status == 429)
    assert demo_client.get("/health").status == 200
