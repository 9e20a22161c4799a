"""What starts a server for a served model: vLLM, from an environment of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

from resources.home.settings import DECISIONS_URL
from resources.models.vlms.spec import API_KEY, VlmSpec
from resources.secrets import is_secret_name
from resources.web import guard

PROGRAM = "VISTAG_VLLM"
"""Environment variable: the path of a `vllm` to run."""
_ENVIRONMENT = Path(__file__).parents[3] / ".venv-vllm"
_GUARD = Path(guard.__file__)

# A description is held to one line of JSON by the same library as in this process, so that both say the same.
_STRUCTURED_OUTPUTS = {"backend": "guidance", "disable_any_whitespace": True}


class NoServerError(RuntimeError):
    """There is no program that could serve; the message says how to get it."""


def vllm_program() -> Path:
    """The `vllm` of $VISTAG_VLLM, else of `.venv-vllm` beside the packages. Raises NoServerError."""
    named = os.environ.get(PROGRAM)
    program = Path(named) if named else _ENVIRONMENT / "bin" / "vllm"
    if not program.is_file():
        raise NoServerError(
            f"There is no vLLM at {program}. Make its environment with `make vllm`, or set {PROGRAM} to the path "
            "of a vllm program."
        )
    return program


def serve_command(spec: VlmSpec, program: Path) -> list[str]:
    """The command that serves a model of a tier on 127.0.0.1."""
    server = spec.server
    options: dict[str, object] = {
        "--served-model-name": spec.served_name,
        "--revision": None if Path(spec.model).is_absolute() else spec.revision,
        "--host": "127.0.0.1",
        "--port": server.port,
        "--dtype": spec.dtype,
        "--quantization": server.quantisation,
        "--max-model-len": server.max_model_len,
        "--gpu-memory-utilization": server.gpu_memory_share,
        "--limit-mm-per-prompt": server.limit_mm_per_prompt.model_dump_json(),
        "--structured-outputs-config": json.dumps(_STRUCTURED_OUTPUTS),
        # a checkpoint's own sampling and penalties would make answers differ from run to run
        "--generation-config": "vllm",
        # its own key is for /v1 only, and pages of any site may ask it
        "--middleware": f"{_GUARD.stem}.{guard.Guard.__name__}",
    }
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    return [str(program), "serve", spec.model, *given, *server.extra_args]


def serve_environment() -> dict[str, str]:
    """This process's environment, the API key under vLLM's name and the guard's, where vLLM finds the guard, and no usage
    statistics sent to anyone.

    Keys that are not the server's stay out of it.
    """
    key = os.environ.get(API_KEY, "")
    kept = {name: value for name, value in os.environ.items() if not _is_foreign_key(name)}
    found = [str(_GUARD.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": os.pathsep.join(found),
        guard.TOKEN: key,
        **({"VLLM_API_KEY": key} if key else {}),
    }


def _is_foreign_key(name: str) -> bool:
    holds_one = is_secret_name(name) or name == DECISIONS_URL
    return holds_one and not name.startswith(("HF_", "HUGGING_FACE_", "VLLM_"))
