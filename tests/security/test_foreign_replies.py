"""What a server answers never ends a run, and neither keys nor pictures go where it points."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_server import said, write_tier
from odd_replies import BAD_JSON, UNTIL_THE_TIMEOUT, WRONG_HTTP, Pieces, http, odd_replies, raw_server
from PIL import Image

from resources.home import Home, Settings, write_settings
from resources.lake import failed_ids
from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.detectors import DetectorSpec
from resources.models.detectors.deepdataspace import Patience
from resources.models.detectors.dino_x import DetectionError, DinoXDetector
from resources.models.vlms import Answer, Unanswered, VlmSpec
from resources.models.vlms.openai_client import API_KEY, ServerUnavailableError
from resources.workspace import open_workspace
from vistag_assets.cli.serve import _healthy
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.progress import Meter
from vistag_assets.runs import find_library

SECRET = "sk-vErY-sEcReT-123456"
GOOD = json.dumps(said("A", " bowl", ".").body).encode()
REDIRECTS = ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]


def picture(width: int = 9) -> Image.Image:
    return Image.fromarray(np.full((8, width, 3), 90, np.uint8))


def prompt_of(asked: bytes) -> str:
    return str(json.loads(asked.partition(b"\r\n\r\n")[2])["messages"][-1]["content"][1]["text"])


def served(url: str, **server: object) -> VlmSpec:
    given = {"base_url": f"{url}/v1", "retries": 0, "concurrency": 3, "timeout_s": 60.0} | server
    return VlmSpec.model_validate(
        {"model": "some/model", "licence": "MIT", "engine": "openai", "server": given}
    )


def test_every_odd_reply_leaves_its_picture_unanswered_and_the_others_answered() -> None:
    odd = {name: reply for name, reply in odd_replies().items() if name not in UNTIL_THE_TIMEOUT}
    prompts = [text for name in odd for text in (name, "good")]
    of = asked_of_an_odd_server(prompts)
    assert isinstance(of["good"], Answer)
    assert [name for name in odd if not is_told(of[name])] == []


def test_a_reply_without_end_leaves_its_picture_unanswered() -> None:
    prompts = sorted(UNTIL_THE_TIMEOUT)
    of = asked_of_an_odd_server([*prompts, "good"], timeout_s=1.5, concurrency=len(prompts) + 1)
    assert [name for name in prompts if not is_told(of[name])] == []


def asked_of_an_odd_server(prompts: list[str], **server: object) -> dict[str, Answer | Unanswered]:
    """prompt -> what became of it, of those that stand several times the first that was unanswered"""
    odd = odd_replies()
    with raw_server(lambda asked: odd.get(prompt_of(asked), lambda: http(GOOD))()) as url:
        model = make_model(served(url, **server), "cpu")
        answers = model.answer([picture()] * len(prompts), prompts, max_tokens=7)
    answered = sorted(zip(prompts, answers, strict=True), key=lambda pair: isinstance(pair[1], Unanswered))
    return dict(answered)


def is_told(answer: Answer | Unanswered) -> bool:
    return isinstance(answer, Unanswered) and answer.reason.isprintable() and 10 < len(answer.reason) <= 300


def test_an_odd_reply_is_a_row_that_failed_and_the_run_goes_on(tmp_path: Path) -> None:
    odd = iter(["JSON: lone surrogate", "completion: choices are texts", "JSON: deep lists"])
    first: dict[bytes, Pieces] = {}

    def reply(asked: bytes) -> Pieces:
        image = asked.partition(b"base64,")[2].partition(b'"')[0]
        if prompt_of(asked) == "?" or (len(first) == 3 and image not in first):
            return http(GOOD)
        if image not in first:
            first[image] = list(odd_replies()[next(odd)]())
        return first[image]

    with raw_server(reply) as url:
        home = Home(tmp_path / "home")
        server = {"base_url": f"{url}/v1", "retries": 0, "concurrency": 1}
        write_settings(home, Settings(tier=str(write_tier(tmp_path, {"engine": "openai", "server": server}))))
        (tmp_path / "library").mkdir()
        for width in range(40, 45):
            picture(width).save(tmp_path / "library" / f"{width}.png")
        workspace = open_workspace(home)
        [folder] = find_library(tmp_path / "library", "lib", home)
        ingest_files(workspace, folder, Meter("Reading"))
        done = update_table("captions", workspace, "lib")
    assert (done.computed, done.failed) == (2, 3)
    told = sorted(failed_ids(workspace.lake.read("captions", "lib")).values())
    assert len(told) == 3
    assert all("no chat completion" in reason for reason in told)


@pytest.fixture
def another() -> Iterator[socket.socket]:
    """A server that nothing may be sent to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def to(listener: socket.socket) -> str:
    return f"Location: http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"


@pytest.mark.parametrize("status", REDIRECTS)
def test_pictures_and_the_key_of_a_served_model_follow_no_redirect(
    status: str, another: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, SECRET)
    with (
        raw_server(lambda asked: http(b"", to(another), status=status)) as url,
        pytest.raises(ServerUnavailableError, match="another address, which is not followed"),
    ):
        make_model(served(url), "cpu").answer([picture()], ["x"], max_tokens=7)


SOME_HTTP = ["gzip", "headers without end", "nothing", "dripping body"]
"""All are tried on the client that everybody shares: tests/resources/test_http_client.py."""
PATIENT = Patience(request=60.0, task=60.0, poll=0.01, tries=1, pause=0.01)
IMPATIENT = Patience(request=0.4, task=1.0, poll=0.01, tries=1, pause=0.01)


def dino_x(url: str, monkeypatch: pytest.MonkeyPatch, patience: Patience = PATIENT) -> DinoXDetector:
    monkeypatch.setenv("DDS_CLOUDAPI_ENDPOINT", url)
    monkeypatch.setenv("DINOX_API_KEY", SECRET)
    spec = DetectorSpec.model_validate({"family": "dino-x", "model": "DINO-X-1.0", "licence": "API"})
    return DinoXDetector(spec, "cpu", patience)


@pytest.mark.parametrize("status", REDIRECTS)
def test_the_token_of_dino_x_follows_no_redirect(
    status: str, another: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        raw_server(lambda asked: http(b"", to(another), status=status)) as url,
        pytest.raises(DetectionError, match="another address, which is not followed"),
    ):
        dino_x(url, monkeypatch).detect([picture()], [["bowl"]])


@pytest.mark.parametrize("endpoint", ["http://api.example.com", "file:///etc", "https://a:b@h", "//h"])
def test_the_token_of_dino_x_goes_over_https_alone(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnavailableError, match="DDS_CLOUDAPI_ENDPOINT: needs"):
        dino_x(endpoint, monkeypatch).load()


@pytest.mark.parametrize("name", [*BAD_JSON, *SOME_HTTP])
def test_an_odd_reply_of_dino_x_is_a_failure_of_its_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = WRONG_HTTP.get(name) or (lambda: http(BAD_JSON[name]))
    with raw_server(lambda asked: reply()) as url, pytest.raises(DetectionError, match=r"image 0") as caught:
        dino_x(url, monkeypatch, IMPATIENT).detect([picture()], [["bowl"]])
    assert str(caught.value).isprintable()


def box(**changes: object) -> dict[str, object]:
    return {"objects": [{"category": "bowl", "score": 0.5, "bbox": [0, 0, 4, 4]} | changes]}


DATA: dict[str, dict[str, Any]] = {
    "a task that is an address": {"task_uuid": "../../v2/other?x=#@h"},
    "a task with a line of its own": {"task_uuid": "a\r\nX: y"},
    "a task that is a list": {"task_uuid": ["a"]},
    "a task that is null": {"task_uuid": None},
    "a status that is a list": {"status": [[]]},
    "a result that is null": {"status": "success", "result": None},
    "a result that is a text": {"status": "success", "result": "abc"},
    "objects that are texts": {"status": "success", "result": {"objects": ["a"]}},
    "a category that is a number": {"status": "success", "result": box(category=7)},
    "a score that is a text": {"status": "success", "result": box(score="high")},
    "a score that is a list": {"status": "success", "result": box(score=[0.1, 0.2])},
    "a score above one": {"status": "success", "result": box(score=2)},
    "a score that is null": {"status": "success", "result": box(score=None)},
    "a box of two": {"status": "success", "result": box(bbox=[1, 2])},
    "a box of eight": {"status": "success", "result": box(bbox=[1] * 8)},
    "a box of texts": {"status": "success", "result": box(bbox=["a"] * 4)},
    "a box of huge numbers": {"status": "success", "result": box(bbox=[0, 0, 1e300, 9])},
    "an error of control characters": {"status": "failed", "error": "\x1b]0;x\x07" + SECRET},
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_an_odd_task_of_dino_x_is_a_failure_of_its_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"task_uuid": "task-1"} | DATA[name]

    def reply(asked: bytes) -> Pieces:
        assert asked.split(b" ")[1] in (b"/v2/task/dinox/detection", b"/v2/task_status/task-1")
        return http(json.dumps({"code": 0, "msg": "ok", "data": data}).encode())

    with raw_server(reply) as url, pytest.raises(DetectionError, match=r"image 0") as caught:
        dino_x(url, monkeypatch, IMPATIENT).detect([picture()], [["bowl"]])
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", SOME_HTTP)
def test_a_program_on_the_port_that_speaks_no_http_is_not_healthy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vistag_assets.cli.serve._HEALTH_SECONDS", 0.3)
    with raw_server(lambda asked: WRONG_HTTP[name]()) as url:
        assert not _healthy(int(url.rpartition(":")[2]))


def test_a_healthy_server_is() -> None:
    with raw_server(lambda asked: http(b"")) as url:
        assert _healthy(int(url.rpartition(":")[2]))
