"""The client of the DINO-X API against a server on this machine that speaks its published schema."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_detectors import noise

from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.detectors import DetectorSpec
from resources.models.detectors.deepdataspace import Patience
from resources.models.detectors.dino_x import DetectionError, DinoXDetector
from resources.models.tiers import TierError, load_tier

Answer = tuple[int, Any]
"""HTTP status, JSON (or bytes as they are)"""
PATIENT = Patience(request=60.0, task=120.0, poll=0.01, tries=3, pause=0.01)
IMPATIENT = Patience(request=0.5, task=2.0, poll=0.01, tries=3, pause=0.01)


def ok(data: Any) -> Answer:
    return 200, {"code": 0, "msg": "ok", "data": data}


@dataclass
class Service:
    """What the server answers, and what it was asked. A task is `running` once, then it finds its red half."""

    refuse: Callable[[str, int], Answer | None] = lambda _path, _number: None
    """(path, number of the request for that path) -> an answer in place of the right one"""
    status: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """body of the task -> `data` of its status"""
    posted: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    delay: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any] | None) -> Answer:
        with self.lock:
            number = self.asked[path] = self.asked.get(path, 0) + 1
            task_number = len(self.posted)
            if body is not None:
                self.posted.append((path, headers, body))
        time.sleep(self.delay)
        if (refusal := self.refuse(path, number)) is not None:
            return refusal
        if headers.get("Token") != "secret":
            return 401, {"code": 10001, "msg": "invalid token"}
        if body is not None:
            return ok({"task_uuid": f"task-{task_number}"})
        task = self.posted[int(path.rsplit("-", 1)[1])][2]
        if self.status is not None:
            return ok(self.status(task))
        return ok({"status": "running"} if number == 1 else {"status": "success", "result": see(task)})


def see(task: dict[str, Any]) -> dict[str, Any]:
    """The left half of the image for each phrase but `nothing`, and something that nobody asked for."""
    image = Image.open(io.BytesIO(base64.b64decode(task["image"].removeprefix("data:image/jpeg;base64,"))))
    box = [0, 0, image.width / 2, image.height]
    found = [
        {"category": phrase, "score": 0.9 - 0.1 * place, "bbox": box}
        for place, phrase in enumerate(task["prompt"]["text"].split("."))
        if phrase != "nothing"
    ]
    return {"objects": [*found, {"category": "ghost", "score": 0.5, "bbox": box}]}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def reply(self, body: dict[str, Any] | None) -> None:
            status, answer = state.answer(self.path, dict(self.headers), body)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("DDS_CLOUDAPI_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("DINOX_API_KEY", "secret")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def detector(model: str = "DINO-X-1.0", patience: Patience = PATIENT, **fields: Any) -> DinoXDetector:
    spec = DetectorSpec.model_validate({"family": "dino-x", "model": model, "licence": "API"} | fields)
    return DinoXDetector(spec, "cpu", patience)


def test_the_answers_of_the_api_become_detections(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    images = [noise(size, seed) for seed, size in enumerate([(61, 40), (40, 61), (3000, 30)])]
    asked = [["Bowl", "car taxi"], ["St. George", "nothing"], ["bowl"]]
    found = detector(min_score=0.25).detect(images, asked)
    for detections in found:
        np.testing.assert_allclose(detections.boxes_xywh[:, :2], 0)
        np.testing.assert_allclose(detections.boxes_xywh[:, 2:], [[0.5, 1.0]] * len(detections.scores))
    assert [detections.phrase_index.tolist() for detections in found] == [[0, 1], [0], [0]]
    np.testing.assert_allclose(found[0].scores, [0.9, 0.8])
    assert [detections.prompt for detections in found] == ["bowl.car taxi", "st george.nothing", "bowl"]
    assert "not asked for, which is left out: ghost" in caplog.text

    path, headers, body = next(post for post in service.posted if post[2]["prompt"]["text"] == "bowl")
    assert path == "/v2/task/dinox/detection"
    assert headers["Token"] == "secret"
    assert len({headers["Idempotency-Key"] for _, headers, _ in service.posted}) == 3
    image = body.pop("image")
    assert body == {
        "model": "DINO-X-1.0", "prompt": {"type": "text", "text": "bowl"}, "targets": ["bbox"],
        "bbox_threshold": 0.25, "iou_threshold": 0.8,
    }  # fmt: skip
    sent = Image.open(io.BytesIO(base64.b64decode(image.removeprefix("data:image/jpeg;base64,"))))
    assert sent.size == (1536, 15)


def test_grounding_dino_has_its_own_path(service: Service) -> None:
    detector("GroundingDino-1.5-Pro").detect([noise((61, 40), 0)], [["bowl"]])
    assert [post[0] for post in service.posted] == ["/v2/task/grounding_dino/detection"]


def test_nothing_asked_costs_nothing(service: Service) -> None:
    (found,) = detector().detect([noise((61, 40), 0)], [[]])
    assert found.scores.size == 0
    assert service.posted == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_with_the_same_key(service: Service, status: int) -> None:
    service.refuse = lambda _path, number: (status, {"msg": "later"}) if number < 3 else None
    (found,) = detector().detect([noise((61, 40), 0)], [["bowl"]])
    assert len(found.scores) == 1
    assert len({headers["Idempotency-Key"] for _, headers, _ in service.posted}) == 1


REFUSALS: dict[str, tuple[Answer, int, str]] = {
    "always busy": ((429, {"msg": "slow down"}), 3, r'429 Too Many Requests \(.*slow down.*\), 3 times'),
    "broken": ((500, b"oops"), 3, r"500 Internal Server Error \(oops\), 3 times"),
    "wrong key": ((401, {"msg": "invalid token"}), 1, r"401 Unauthorized .*invalid token"),
    "wrong request": ((200, {"code": 10000, "msg": "no quota"}), 1, r"refused: .*no quota"),
    "not JSON": ((200, b"<html>"), 1, "did not answer in JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_names_what_happened(service: Service, name: str) -> None:
    answer, tries, message = REFUSALS[name]
    service.refuse = lambda _path, _number: answer
    with pytest.raises(DetectionError, match=f"1 of 1 questions to the API have no answer: .*{message}"):
        detector().detect([noise((61, 40), 0)], [["bowl"]])
    assert len(service.posted) == tries


STATUSES: dict[str, tuple[dict[str, Any], str]] = {
    "failed": ({"status": "failed", "error": "image too dark"}, "the task failed: image too dark"),
    "no end": ({"status": "running"}, r"still running after 2 s"),
    "other status": ({"state": 1}, "not as published: it lacks 'status'"),
    "other result": ({"status": "success", "result": {"boxes": []}}, "not as published: KeyError"),
}


@pytest.mark.parametrize("name", STATUSES)
def test_a_task_without_a_result_names_what_happened(service: Service, name: str) -> None:
    status, message = STATUSES[name]
    service.status = lambda _task: status
    patience = replace(PATIENT, task=2.0) if name == "no end" else PATIENT
    with pytest.raises(DetectionError, match=message):
        detector(patience=patience).detect([noise((61, 40), 0)], [["bowl"]])


def test_the_images_that_failed_are_named_when_all_are_asked(service: Service) -> None:
    service.status = lambda task: (
        {"status": "failed", "error": "no"} if task["prompt"]["text"] == "car"
        else {"status": "success", "result": see(task)}
    )  # fmt: skip
    image = noise((61, 40), 0)
    with pytest.raises(DetectionError, match=r"2 of 4 .*the task failed: no \(image 1, 3\)") as raised:
        detector(batch_size=2).detect([image] * 4, [["bowl"], ["car"], ["bowl"], ["car"]])
    assert raised.value.failures.keys() == {1, 3}
    assert len(service.posted) == 4


def test_a_server_that_does_not_answer_is_given_up(service: Service) -> None:
    service.delay = 0.8
    with pytest.raises(DetectionError, match=r"no answer \(.*timed out"):
        detector(patience=IMPATIENT).detect([noise((61, 40), 0)], [["bowl"]])


def test_without_a_key_nothing_is_sent(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DINOX_API_KEY")
    with pytest.raises(ModelUnavailableError, match="DINOX_API_KEY"):
        detector().load()
    with pytest.raises(ModelUnavailableError, match="DINOX_API_KEY"):
        detector().detect([noise((61, 40), 0)], [["bowl"]])
    assert service.posted == []


def test_a_model_that_the_api_does_not_have_is_refused(service: Service) -> None:
    with pytest.raises(ModelUnavailableError, match=r"no DINO-Y; known: DINO-X-1\.0, Ground"):
        detector("DINO-Y").load()


def test_a_tier_has_to_accept_that_images_leave(tmp_path: Path) -> None:
    encoder = {"family": "siglip", "model": "m", "licence": "own"}
    tier = {"description": "d", "device": "cpu", "encoder": encoder, "detector": {"model": "DINO-X-1.0"}}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(tier))
    with pytest.raises(TierError, match=r"detector: .*DINO-X-1.0 .*licence API.*accept_licence: \[API\]"):
        load_tier(str(path))
    path.write_text(json.dumps(tier | {"accept_licence": ["API"]}))
    assert load_tier(str(path)).detector.family == "dino-x"


def test_the_fingerprint_knows_the_name_of_the_model() -> None:
    spec = DetectorSpec.model_validate({"model": "DINO-X-1.0"})  # family and licence are the registry's
    assert (spec.family, spec.licence) == ("dino-x", "API")
    fingerprint = make_model(spec, "cpu").fingerprint
    assert fingerprint == detector().fingerprint
    assert fingerprint != detector("GroundingDino-1.5-Pro").fingerprint
    assert fingerprint != detector(min_score=0.9).fingerprint
