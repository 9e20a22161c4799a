"""What starts a server for a served model: vLLM, LMDeploy or TensorRT-LLM, each from an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from resources.home.settings import DECISIONS_URL
from resources.models.checkpoints import checkpoint_directory
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


class OtherProgram:
    """How LMDeploy or TensorRT-LLM is started. Neither has been run on a GPU of ours."""

    def __init__(self, name: str, program: str, variable: str, install: str) -> None:
        self.name, self.program, self.variable, self.install = name, program, variable, install

    def path(self) -> Path:
        """Of the program: $VARIABLE, else on the path. Raises NoServerError."""
        named = os.environ.get(self.variable)
        found = named or shutil.which(self.program)
        if found is None or not Path(found).is_file():
            raise NoServerError(
                f"There is no {self.program}{f' at {named}' if named else ''}. Install {self.name} into an environment of its own "
                f"({self.install}), and set {self.variable} to the path of its {self.program}."
            )
        return Path(found)


OTHERS: Mapping[str, OtherProgram] = {
    "lmdeploy": OtherProgram("LMDeploy", "lmdeploy", "VISTAG_LMDEPLOY", "pip install lmdeploy"),
    "trtllm": OtherProgram(
        "TensorRT-LLM", "trtllm-serve", "VISTAG_TRTLLM", "pip install tensorrt-llm, or its container"
    ),
}
_TRANSLATED: Mapping[str, Mapping[str, str]] = {
    "lmdeploy": {"--tensor-parallel-size": "--tp", "--max-num-seqs": "--max-batch-size"},
    "trtllm": {"--tensor-parallel-size": "--tp_size", "--max-num-seqs": "--max_batch_size"},
}
"""Of `extra_args`, which are vLLM's: what the others call them; all else is refused for them"""
TRTLLM_SETTINGS = "guided_decoding_backend: xgrammar\n"
"""What trtllm-serve reads from a file alone"""


def other_command(spec: VlmSpec, program: Path, settings: Path) -> list[str]:
    """The command that serves a model of a tier by LMDeploy or TensorRT-LLM on 127.0.0.1.

    `settings`: where the file of TRTLLM_SETTINGS lies. Raises NoServerError for what those servers do not have.
    """
    server, kind = spec.server, spec.server.program
    known = OTHERS[kind]
    if os.environ.get(API_KEY):
        raise NoServerError(
            f"{API_KEY} is set, and {known.name} takes a key on its command line, where others of this machine can read it, or "
            f"none. Unset it, or start {known.name} yourself behind what asks for passwords, and name it as base_url."
        )
    if server.quantisation is not None:
        raise NoServerError(
            f"server.quantisation is what vLLM does as it loads; for {known.name} name a checkpoint that is stored so."
        )
    if kind == "lmdeploy" and spec.dtype == "float32":
        raise NoServerError("LMDeploy runs in 16 bits: write `dtype: bfloat16` or `float16` in the tier.")
    options = _of_lmdeploy(spec) if kind == "lmdeploy" else _of_trtllm(spec, settings)
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    return [str(program), *_beginning(spec), *given, *_translated(kind, server.extra_args)]


def _beginning(spec: VlmSpec) -> list[str]:
    if spec.server.program == "lmdeploy":
        return ["serve", "api_server", spec.model]
    # it takes no revision: what was pinned is fetched here
    return [spec.model if spec.revision is None else str(checkpoint_directory(spec))]


def _of_lmdeploy(spec: VlmSpec) -> dict[str, object]:
    server = spec.server
    return {
        "--model-name": spec.served_name,
        "--revision": None if Path(spec.model).is_absolute() else spec.revision,
        "--server-name": "127.0.0.1",
        "--server-port": server.port,
        "--allow-origins": f"http://127.0.0.1:{server.port}",  # any page may ask it otherwise
        "--backend": "pytorch",  # TurboMind tells no log-probabilities
        "--logprobs-mode": "raw_logprobs",
        "--generation-config": "lmdeploy",
        "--dtype": spec.dtype,
        "--session-len": server.max_model_len,
        "--cache-max-entry-count": server.gpu_memory_share,
    }


def _of_trtllm(spec: VlmSpec, settings: Path) -> dict[str, object]:
    server = spec.server
    return {
        "--served_model_name": spec.served_name,
        "--host": "127.0.0.1",
        "--port": server.port,
        "--backend": "pytorch",  # a built engine tells no log-probabilities unless it was built for them
        "--max_seq_len": server.max_model_len,
        "--kv_cache_free_gpu_memory_fraction": server.gpu_memory_share,
        "--extra_llm_api_options": settings,
    }


def _translated(kind: str, options: Sequence[str]) -> list[str]:
    words, waiting = _TRANSLATED[kind], list(options)
    made: list[str] = []
    while waiting:
        option = waiting.pop(0)
        if option not in words:
            raise NoServerError(
                f"server.extra_args: {option} is an option of vLLM; for {OTHERS[kind].name} there are {', '.join(words)}. Start it "
                "yourself for others, and name it as base_url."
            )
        made += [words[option], waiting.pop(0)]
    return made


def _is_foreign_key(name: str) -> bool:
    holds_one = is_secret_name(name) or name == DECISIONS_URL
    return holds_one and not name.startswith(("HF_", "HUGGING_FACE_", "VLLM_"))
