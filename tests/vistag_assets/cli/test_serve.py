"""`vistag serve`, with a program in the place of vLLM.

The real one is in tests/resources/models/vlms/test_vllm.py.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from faulty_server import write_tier
from stand_in_vllm import write_program

from resources.models.tiers import load_tier
from resources.models.vlms import VlmSpec
from resources.models.vlms.server import (
    PROGRAM,
    NoServerError,
    serve_command,
    serve_environment,
    vllm_program,
)
from resources.models.vlms.spec import API_KEY
from resources.web.guard import TOKEN
from vistag_assets.cli.serve import ServeError, served_spec

ROOT = Path(__file__).parents[3]
STOPPED = "Stopped. What was finished is kept; the next run goes on from there."


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def command(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(PROGRAM, str(write_program(tmp_path)))
    tier = write_tier(tmp_path, {"engine": "openai", "server": {"port": port}})
    cli = [sys.executable, "-c", "from vistag_assets.cli import app; app()"]
    return [*cli, "serve", "--tier", str(tier), "--home", str(tmp_path / "home")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_runs_until_it_is_interrupted_and_leaves_nothing(
    command: list[str], port: int, number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert f"serve some/model --served-model-name some/model --host 127.0.0.1 --port {port}" in first
        assert f"some/model answers at http://127.0.0.1:{port}/v1" in second
        started = psutil.Process(process.pid).children(recursive=True)
        assert [child.name() for child in started][-1] == "sleep"
        process.send_signal(number)
        assert process.wait(120) == code
        assert process.stderr.read().splitlines() == ([STOPPED] if code else [])
    assert psutil.wait_procs(started, timeout=60)[1] == []


def test_a_server_that_ends_is_told_with_its_last_messages(command: list[str]) -> None:
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "DIES": "1"}, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "The server ended with code 1" in ended.stderr
    assert "weights are loaded\nno memory is left on the card" in ended.stderr
    assert "serve-" in ended.stderr  # where all its messages are
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_told(command: list[str], port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"Port {port} is in use" in ended.stderr


def test_the_command_has_the_flags_of_the_tier() -> None:
    spec = VlmSpec.model_validate(
        {
            "model": "org/name-72B",
            "revision": "abc",
            "licence": "MIT",
            "dtype": "bfloat16",
            "engine": "openai",
            "server": {
                "port": 8123,
                "quantisation": "fp8",
                "max_model_len": 4096,
                "gpu_memory_share": 0.7,
                "limit_mm_per_prompt": {"image": 2},
                "extra_args": ["--tensor-parallel-size", "2"],
            },
        }
    )
    command = serve_command(spec, Path("/opt/vllm"))
    assert command[:3] == ["/opt/vllm", "serve", "org/name-72B"]
    assert command[-2:] == ["--tensor-parallel-size", "2"]
    flags = dict(zip(command[3::2], command[4::2], strict=True))
    assert flags | {"--structured-outputs-config": ""} == {
        "--served-model-name": "org/name-72B",
        "--revision": "abc",
        "--host": "127.0.0.1",
        "--port": "8123",
        "--dtype": "bfloat16",
        "--quantization": "fp8",
        "--max-model-len": "4096",
        "--gpu-memory-utilization": "0.7",
        "--limit-mm-per-prompt": '{"image":2,"video":0}',
        "--structured-outputs-config": "",
        "--generation-config": "vllm",
        "--middleware": "guard.Guard",
        "--tensor-parallel-size": "2",
    }


@pytest.mark.parametrize("key", ["", "secret"])
def test_the_server_finds_the_guard_and_the_key(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, key)
    monkeypatch.setenv(TOKEN, "that of the web server")
    made = "import guard; print(guard.Guard(None).token)"
    told = subprocess.run(
        [sys.executable, "-c", made], cwd=tmp_path, env=serve_environment(), capture_output=True, text=True
    )
    assert told.stdout.strip() == (key or "None"), told.stderr


def test_a_missing_vllm_is_told_with_how_to_make_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PROGRAM, str(tmp_path / "none"))
    with pytest.raises(NoServerError, match="make vllm"):
        vllm_program()


@pytest.mark.parametrize(
    ("vlm", "heavy", "told"),
    [
        ({}, False, "engine: transformers"),
        ({"engine": "openai"}, True, "names no heavy_vlm"),
        ({"engine": "openai", "server": {"base_url": "https://gpu:8000/v1"}}, False, "served by others"),
    ],
)
def test_only_what_is_to_be_served_is(tmp_path: Path, vlm: dict[str, object], heavy: bool, told: str) -> None:
    with pytest.raises(ServeError, match=told):
        served_spec(load_tier(str(write_tier(tmp_path, vlm))), heavy=heavy)
