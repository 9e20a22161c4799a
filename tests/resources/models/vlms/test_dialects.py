"""The client against the dialects of LMDeploy and TensorRT-LLM, spoken by a server on loopback; and their commands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dialects
import numpy as np
import pytest
from faulty_server import FaultyServer, Reply, faulty_server, write_tier
from PIL import Image
from stand_in_vllm import write_program

from resources.models.checkpoints import make_model
from resources.models.tiers import load_tier
from resources.models.vlms import Answer, Unanswered, VlmSpec
from resources.models.vlms.openai_client import ServerUnavailableError
from resources.models.vlms.server import OTHERS, NoServerError, other_command
from resources.models.vlms.spec import API_KEY
from vistag_assets.cli.serve import ServeError, command_of, served_spec

ROOT = Path(__file__).parents[4]
CONTENT = "A bowl, L\u00f6we."
BYTES = [
    ("A", "A", ("x", "y", "z")), (" bowl", "\u0120bowl", ("x", "y", "z")), (",", ",", ("x", "y", "z")),
    (" L\u00f6", "\u0120L\u00c3\u00b6", ("x", "y", "z")), ("we", "we", ("x", "y", "z")), (".", ".", ("x", "y", "z")),
]  # fmt: skip
WORDS = [
    (text, piece.replace("\u0120", "\u2581").replace("\u00c3\u00b6", "\u00f6"), others)
    for text, piece, others in BYTES
]
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}


def spec_of(server: FaultyServer, program: str, **changes: object) -> VlmSpec:
    fields = {"model": "some/model", "licence": "MIT", "engine": "openai"} | changes
    return VlmSpec.model_validate(
        fields | {"server": {"retries": 0, "base_url": server.url, "program": program}}
    )


def asked(behave: Any, program: str, **changes: Any) -> tuple[Answer | Unanswered, FaultyServer]:
    schema = changes.pop("schema", None)
    with faulty_server(behave) as server:
        vlm = make_model(spec_of(server, program, **changes), "cpu")
        [answer] = vlm.answer([Image.new("RGB", (8, 8))], ["x"], max_tokens=9, schema=schema)
    return answer, server


@pytest.mark.parametrize(
    ("program", "behave"),
    [
        ("lmdeploy", dialects.lmdeploy(BYTES, CONTENT)), ("lmdeploy", dialects.lmdeploy(WORDS, CONTENT)),
        ("trtllm", dialects.trtllm(BYTES, CONTENT)),
    ],
    ids=["lmdeploy, bytes", "lmdeploy, sentence pieces", "trtllm"],
)  # fmt: skip
def test_answers_of_another_server_are_understood_as_vllm_s(program: str, behave: Any) -> None:
    """LMDeploy tells pieces of the vocabulary and leaves the chosen token out of the probable ones."""
    reference, _ = asked(dialects.vllm(BYTES, CONTENT), "vllm")
    answer, _ = asked(behave, program)
    assert isinstance(reference, Answer)
    assert isinstance(answer, Answer)
    assert (answer.text, answer.tokens) == (CONTENT, ("A", " bowl", ",", " L\u00f6", "we", "."))
    assert (answer.text, answer.tokens, answer.finished) == (
        reference.text,
        reference.tokens,
        reference.finished,
    )
    np.testing.assert_allclose(answer.logprobs, reference.logprobs)
    np.testing.assert_allclose(answer.entropies, reference.entropies, rtol=1e-6)
    np.testing.assert_allclose(answer.entropies, [dialects.entropy()] * 6, rtol=1e-6)


def test_what_lmdeploy_says_would_be_misread_as_vllm_s() -> None:
    """So that the dialect above is needed: the entropies are of the others alone."""
    answer, _ = asked(dialects.lmdeploy(BYTES, CONTENT), "vllm")
    assert isinstance(answer, Answer)
    assert abs(float(answer.entropies[0]) - dialects.entropy()) > 0.03


@pytest.mark.parametrize("version", ["0.18", "1.3"])
def test_a_schema_has_another_name_for_tensorrt_llm(version: str) -> None:
    answer, server = asked(dialects.trtllm(BYTES, CONTENT, version), "trtllm", schema=SCHEMA)
    assert isinstance(answer, Answer)
    assert server.asked[0].body["response_format"] == {"type": "json", "schema": SCHEMA}


def test_an_old_tensorrt_llm_asked_as_vllm_says_what_it_does_not_know() -> None:
    with pytest.raises(ServerUnavailableError, match=r"400 Unsupported response format: json_schema"):
        asked(dialects.trtllm(BYTES, CONTENT, "0.18"), "vllm", schema=SCHEMA)


@pytest.mark.parametrize(
    ("program", "behave", "told"),
    [
        ("lmdeploy", dialects.lmdeploy(BYTES, CONTENT, None),
         r"not enabled logprobs_mode in engine configuration\. Start LMDeploy with `--backend pytorch --logprobs-mode"),
        ("trtllm", dialects.trtllm(BYTES, CONTENT, tells_logprobs=False),
         r"it has no log-probabilities.*Start trtllm-serve with `--backend pytorch`"),
    ],
)  # fmt: skip
def test_a_server_without_log_probabilities_is_told_with_what_to_start(
    program: str, behave: Any, told: str
) -> None:
    with pytest.raises(ServerUnavailableError, match=told):
        asked(behave, program)


def test_a_refusal_by_field_is_told_by_its_words() -> None:
    """FastAPI's own, where a server leaves it as it is."""
    detail = [
        {
            "type": "literal_error",
            "loc": ["body", "response_format", "type"],
            "msg": "Input should be 'text' or 'json'",
        }
    ]
    with pytest.raises(ServerUnavailableError, match=r"422 Input should be 'text' or 'json'"):
        asked(lambda asked: Reply(422, {"detail": detail}), "trtllm")


@pytest.mark.parametrize("choices", ["none", [1], [{"logprobs": 3}], [{"logprobs": {"content": [7]}}]])
def test_a_reply_of_lmdeploy_that_is_none_is_unanswered(choices: object) -> None:
    good = dialects.lmdeploy(BYTES, CONTENT)
    answer, _ = asked(
        lambda asked: Reply(body={"choices": choices}) if asked.prompt == "x" else good(asked), "lmdeploy"
    )
    assert isinstance(answer, Unanswered)
    assert "no chat completion" in answer.reason


def test_cogvlm_is_asked_behind_lmdeploy() -> None:
    """No process of ours runs it: without a server the tier is told which one."""
    answer, server = asked(
        dialects.lmdeploy(WORDS, CONTENT),
        "lmdeploy",
        model="THUDM/cogvlm2-llama3-chat-19B",
        licence="cogvlm2",
    )
    assert isinstance(answer, Answer)
    assert answer.text == CONTENT
    assert server.asked[0].body["model"] == "THUDM/cogvlm2-llama3-chat-19B"
    with pytest.raises(
        ValueError, match=r"cogvlm runs behind a server alone, LMDeploy 0\.16.*write `engine: openai`"
    ):
        VlmSpec.model_validate({"model": "THUDM/cogvlm2-llama3-chat-19B"})


# ---- vistag serve


def other_spec(program: str, **changes: Any) -> VlmSpec:
    server = {"program": program, "port": 8123, "max_model_len": 4096, "gpu_memory_share": 0.7} | changes.pop(
        "server", {}
    )
    fields = {
        "model": "org/name",
        "licence": "MIT",
        "dtype": "bfloat16",
        "engine": "openai",
        "server": server,
    }
    return VlmSpec.model_validate(fields | changes)


def test_the_command_of_lmdeploy_has_what_the_tier_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    spec = other_spec("lmdeploy", revision="abc", server={"extra_args": ["--tensor-parallel-size", "2"]})
    command = other_command(spec, Path("/opt/lmdeploy"), Path("unused"))
    assert command[:4] == ["/opt/lmdeploy", "serve", "api_server", "org/name"]
    assert dict(zip(command[4::2], command[5::2], strict=True)) == {
        "--model-name": "org/name", "--revision": "abc", "--server-name": "127.0.0.1", "--server-port": "8123",
        "--allow-origins": "http://127.0.0.1:8123", "--backend": "pytorch", "--logprobs-mode": "raw_logprobs",
        "--generation-config": "lmdeploy", "--dtype": "bfloat16", "--session-len": "4096", "--cache-max-entry-count": "0.7",
        "--tp": "2",
    }  # fmt: skip


def test_the_command_of_tensorrt_llm_has_what_the_tier_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    program = write_program(tmp_path)
    monkeypatch.setenv(OTHERS["trtllm"].variable, str(program))
    settings = tmp_path / "logs" / "serve-8123.yaml"
    command = command_of(other_spec("trtllm", server={"extra_args": ["--max-num-seqs", "8"]}), settings)
    assert command[:2] == [str(program), "org/name"]
    assert dict(zip(command[2::2], command[3::2], strict=True)) == {
        "--served_model_name": "org/name", "--host": "127.0.0.1", "--port": "8123", "--backend": "pytorch",
        "--max_seq_len": "4096", "--kv_cache_free_gpu_memory_fraction": "0.7", "--extra_llm_api_options": str(settings),
        "--max_batch_size": "8",
    }  # fmt: skip
    assert settings.read_text() == "guided_decoding_backend: xgrammar\n"


@pytest.mark.parametrize("program", ["lmdeploy", "trtllm"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"server": {"quantisation": "fp8"}}, "server.quantisation is what vLLM does"),
        (
            {"server": {"extra_args": ["--enforce-eager"]}},
            "--enforce-eager is an option of vLLM.*--tensor-parallel-size",
        ),
    ],
)
def test_what_another_server_does_not_have_is_refused(
    program: str, changes: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    with pytest.raises(NoServerError, match=told):
        other_command(other_spec(program, **changes), Path("/opt/x"), Path("unused"))


def test_single_precision_and_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    with pytest.raises(NoServerError, match="LMDeploy runs in 16 bits"):
        other_command(other_spec("lmdeploy", dtype="float32"), Path("/opt/x"), Path("unused"))
    monkeypatch.setenv(API_KEY, "secret")
    with pytest.raises(
        NoServerError, match="on its command line, where others of this machine can read it"
    ) as raised:
        other_command(other_spec("lmdeploy"), Path("/opt/x"), Path("unused"))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("program", ["lmdeploy", "trtllm"])
def test_a_program_that_is_not_there_is_told_with_how_to_get_it(
    program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerError, match=rf"There is no .*pip install .*set {OTHERS[program].variable}"):
        command_of(other_spec(program), tmp_path / "serve.yaml")


def test_an_engine_that_is_not_the_tier_s_is_told_with_the_line(tmp_path: Path) -> None:
    tier = load_tier(str(write_tier(tmp_path, {"engine": "openai"})))
    assert served_spec(tier, heavy=False, engine="vllm").server.program == "vllm"
    with pytest.raises(ServeError, match=r"write `program: lmdeploy` under its `server`"):
        served_spec(tier, heavy=False, engine="lmdeploy")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["lmdeploy", "trtllm"])
def test_vistag_serve_starts_it_and_ends_with_it(program: str, tmp_path: Path) -> None:
    """By a program in its place that listens where it is told, until its port is found taken."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    tier = write_tier(
        tmp_path, {"engine": "openai", "dtype": "bfloat16", "server": {"port": port, "program": program}}
    )
    environment = {**os.environ, OTHERS[program].variable: str(write_program(tmp_path)), "DIES": "1"}
    environment.pop(API_KEY, None)
    code = "from vistag_assets.cli import app; app()"
    words = ["serve", "--tier", str(tier), "--engine", program, "--home", str(tmp_path / "home")]
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "some/model" in ended.stdout
    assert "The server ended with code 1" in ended.stderr
    assert "no memory is left on the card" in ended.stderr
