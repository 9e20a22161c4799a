"""Checkpoints from a hub: a server on this machine that speaks the hub's HTTP, asked by huggingface_hub itself."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest
from tiny_checkpoint import save_tiny_siglip

MODEL = "somebody/tiny-siglip"
ASK = """
import sys
from resources.models.checkpoints import ModelUnavailableError, make_model
from resources.models.encoders import EncoderSpec
spec = EncoderSpec(family="siglip", model=sys.argv[1], licence="own", revision=sys.argv[2] or None)
try:
    encoder = make_model(spec, "cpu")
    print(encoder.directory.name, encoder.embed_texts(["a bowl"]).shape[1])
except ModelUnavailableError as error:
    sys.exit(str(error))
"""


class Hub:
    """Repositories with one branch, `main`: commit -> files."""

    def __init__(self, directory: Path) -> None:
        self.commits = {"a" * 40: directory}
        self.main = "a" * 40
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = urlparse(self.path).path
                hub.asked.append(path)
                body, headers = hub.answer(path.removeprefix("/api/models").removeprefix(f"/{MODEL}"))
                self.send_response(404 if body is None else 200)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if body and self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def answer(self, path: str) -> tuple[bytes | None, dict[str, str]]:
        _, kind, revision, *rest = [*path.split("/"), "", ""]
        commit = self.main if revision == "main" else revision
        if commit not in self.commits:
            return None, {}
        files = {file.name: file.read_bytes() for file in self.commits[commit].iterdir()}
        if kind == "revision":
            siblings = [{"rfilename": name} for name in files]
            return json.dumps({"id": MODEL, "sha": commit, "siblings": siblings}).encode(), {}
        if kind == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            return json.dumps(tree).encode(), {}
        data = files.get(rest[0])
        etag = hashlib.sha1(data or b"").hexdigest()
        return data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(save_tiny_siglip(tmp_path / "first"))
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def ask(hub: Hub, cache: Path, revision: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-c", ASK, MODEL, revision],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_commit_that_was_fetched_first_stays(hub: Hub, tmp_path: Path) -> None:
    first = ask(hub, tmp_path / "cache")
    assert first.stdout.split()[0] == "a" * 40, first.stderr
    hub.commits["b" * 40] = save_tiny_siglip(tmp_path / "second", seed=1)
    hub.main = "b" * 40
    hub.asked.clear()
    assert ask(hub, tmp_path / "cache").stdout.split()[0] == "a" * 40
    assert hub.asked == []
    assert ask(hub, tmp_path / "cache", revision="b" * 40).stdout.split()[0] == "b" * 40


def test_a_model_that_the_hub_does_not_have_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.main = "c" * 40
    refused = ask(hub, tmp_path / "cache")
    assert refused.returncode == 1
    assert f"{MODEL} is not on this machine and could not be fetched" in refused.stderr


def default_tier(cache: Path, endpoint: str) -> str:
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    told = subprocess.run(
        [sys.executable, "-c", "from resources.models.tiers.default import *; print(default_tier().why)"],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


@pytest.mark.slow
def test_without_a_name_the_tier_is_the_best_that_can_be_had(hub: Hub, tmp_path: Path) -> None:
    assert default_tier(tmp_path, hub.url) == "Tier cpu, since none was named."
    silent = default_tier(tmp_path, "http://127.0.0.1:9")
    assert silent.startswith("Tier offline, since none was named; --tier cpu knows more")


def test_a_hub_that_does_not_answer_is_told_at_once_and_not_asked_five_times(
    hub: Hub, tmp_path: Path
) -> None:
    hub.server.shutdown()
    hub.server.server_close()
    refused = ask(hub, tmp_path / "cache")
    assert refused.returncode == 1
    assert "--tier offline, which needs no network" in refused.stderr
    assert "Retry" not in refused.stderr
