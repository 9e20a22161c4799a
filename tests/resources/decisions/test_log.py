"""The log on a disk and on a server: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import postgres_server

from resources.decisions import DecisionLog, Event, LogUnavailable

WRITER = """
import sys
from resources.decisions import DecisionLog, Event
log = DecisionLog(__import__("sqlalchemy").make_url(sys.argv[1]))
writer, events, at_once = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for first in range(0, events, at_once):
    some = [
        Event(who=writer, verdict="accept", image_id="a" * 32, concept_id="vase", client_id=f"{writer}-{number}")
        for number in range(first, first + at_once)
    ]
    for event in log.append(some):
        print(event.client_id, event.seq, flush=True)
"""


def said(image_id: str = "a", **more: object) -> Event:
    return Event(**{"who": "ada", "verdict": "accept", "image_id": image_id, "concept_id": "vase", **more})  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return DecisionLog.at(tmp_path, None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as variables:
        url = sa.URL.create(
            "postgresql",
            variables["VISTAG_PG_USER"],
            variables["VISTAG_PG_PASSWORD"],
            variables["VISTAG_PG_HOST"],
            int(variables["VISTAG_PG_PORT"]),
            variables["VISTAG_PG_DATABASE"],
        )
        yield url.render_as_string(hide_password=False)


def test_reading_makes_no_file(log: DecisionLog) -> None:
    assert (log.since(), log.about(["a"]), log.remove(["a"]), log.append([])) == ([], [], 0, [])
    assert log.file is not None
    assert not log.file.exists()


def test_an_event_comes_back_as_it_was(log: DecisionLog) -> None:
    told = said(
        pixel_hash="p", phrase="a vase", region_id="a-r1", box=(0.1, 0.2, 0.3, 0.4), folder="lib--a",
        path="a/1.jpg", shown="f", source="file", verdict="redraw",
    )  # fmt: skip
    (stored,) = log.append([told])
    assert stored.seq == 1
    (read,) = log.since()
    assert read == stored
    assert read.time == told.time
    assert log.since(1) == []


def test_an_event_that_is_appended_again_is_kept_once(log: DecisionLog) -> None:
    first = said()
    stored = log.append([first, said("b")])
    again = log.append([said("c"), first, first])
    assert [event.seq for event in again[1:]] == [stored[0].seq] * 2
    assert [event.image_id for event in log.since()] == ["a", "b", "c"]


def test_what_was_said_of_a_picture_is_found_by_its_content_and_its_pixels(log: DecisionLog) -> None:
    log.append([said("a"), said("b", pixel_hash="p"), said("c", pixel_hash="p"), said("d")])
    assert [event.image_id for event in log.about(["a"], ["p"])] == ["a", "b", "c"]
    assert log.remove(["b"]) == 1
    assert [event.seq for event in log.since()] == [1, 3, 4]
    assert log.append([said("e")])[0].seq == 5  # no number comes again
    many = [f"{number:032x}" for number in range(1200)]
    log.append([said(id_) for id_ in many])
    assert len(log.about(many)) == 1200


def read_all(processes: list[subprocess.Popen[str]]) -> dict[str, int]:
    """Client id -> seq of every event that a writer was told is in the log."""
    told: dict[str, int] = {}
    for process in processes:
        assert process.stdout is not None
        for line in process.stdout.read().splitlines():
            if len(words := line.split()) == 2:
                told[words[0]] = int(words[1])
        process.wait()
    return told


@pytest.mark.parametrize("place", ["a file", "a server"])
@pytest.mark.slow
def test_no_acknowledged_event_is_lost_and_none_is_there_twice(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/decisions.sqlite" if place == "a file" else request.getfixturevalue("server")

    def start(writer: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, url, writer, "250", "5"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    log = DecisionLog(sa.make_url(url))
    writers = [start(name) for name in "pqrs"]
    while len(log.since()) < 100:
        assert all(process.poll() in (None, 0) for process in writers)
        time.sleep(0.02)
    for process in writers[:2]:
        os.kill(process.pid, signal.SIGKILL)
    told = read_all(writers)
    stored = {event.client_id: event.seq for event in log.since()}
    assert told.items() <= stored.items()
    assert {f"{name}-{number}" for name in "rs" for number in range(250)} <= stored.keys()
    # who was killed does all of it again, and so everything is there once
    told |= read_all([start(name) for name in "pq"])
    events = log.since()
    assert len(events) == len({event.client_id for event in events}) == len(told) == 1000
    assert [event.seq for event in events] == sorted(event.seq or 0 for event in events)
    assert {event.client_id: event.seq for event in events} == told


def test_a_reader_that_follows_misses_no_line(server: str) -> None:
    """A lower number never comes after a higher one was seen, though two write at once."""
    log = DecisionLog(sa.make_url(server))
    last = max((event.seq or 0 for event in log.since()), default=0)
    command = [sys.executable, "-c", WRITER, server, *("x", "40", "1")]
    writers = [
        subprocess.Popen([*command[:4], name, *command[5:]], stdout=subprocess.PIPE, text=True)
        for name in ("follow-1", "follow-2")
    ]
    seen: list[Event] = []
    while len(seen) < 80:
        new = log.since(last)
        last = max((event.seq or 0 for event in new), default=last)
        seen += new
        assert len(seen) == 80 or all(process.poll() in (None, 0) for process in writers)
    read_all(writers)
    assert len({event.seq for event in seen}) == 80


def test_a_file_that_is_no_log_is_named(log: DecisionLog) -> None:
    assert log.file is not None
    log.file.write_bytes(b"no database" * 1000)
    for act in (log.since, lambda: log.append([said()])):
        with pytest.raises(LogUnavailable, match=rf"{log.file} cannot be used: .*Restore that file"):
            act()


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    log = DecisionLog(sa.make_url("postgresql://vistag:secret@127.0.0.1:1/vistag"))
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1/vistag cannot be used") as told:
        log.since()
    assert "secret" not in str(told.value)


def test_the_log_is_durable_and_lets_readers_in(log: DecisionLog) -> None:
    log.append([said()])
    with log._connected() as sql:
        assert sql.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    assert log.file is not None
    reader = sqlite3.connect(log.file)
    assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert reader.execute("select count(*) from decisions").fetchone() == (1,)
    log.append([said("b")])  # while the reader is there
    reader.close()
