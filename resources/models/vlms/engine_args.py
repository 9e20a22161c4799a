"""What a tier may tell vLLM besides the fields of its own: options of memory, lengths, parallelism and precision.

All others are refused, and so is each new one of vLLM: some load code (plug-ins, middleware, worker classes, load formats,
overrides of the model's classes), read files, open the server to others, send to addresses, or hold keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

Kind = Callable[[str], str | None]
"""A value -> what it has to be, None where it is that"""


def _whole(least: int, most: int) -> Kind:
    def problem(value: str) -> str | None:
        is_right = re.fullmatch(r"[0-9]{1,15}", value, re.ASCII) and least <= int(value) <= most
        return None if is_right else f"a whole number from {least} to {most}"

    return problem


def _number(least: float, most: float) -> Kind:
    def problem(value: str) -> str | None:
        is_right = (
            re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value, re.ASCII) and least <= float(value) <= most
        )
        return None if is_right else f"a number from {least:g} to {most:g}"

    return problem


def _one_of(*choices: str) -> Kind:
    return lambda value: None if value in choices else f"one of {', '.join(choices)}"


def _numbers_of(*names: str) -> Kind:
    """JSON of whole numbers by name, and nothing in it that could name a file or a class."""
    wanted = f"JSON with whole numbers by {', '.join(names)}, such as '{json.dumps({names[0]: 1})}'"

    def problem(value: str) -> str | None:
        try:
            told = json.loads(value[:1000])
        except (ValueError, RecursionError):
            return wanted
        is_right = isinstance(told, dict) and all(
            name in names and type(number) is int and 0 <= number < 2**31 for name, number in told.items()
        )
        return None if is_right else wanted

    return problem


_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
_SWITCHES = (
    "async-scheduling",
    "enable-chunked-prefill",
    "enable-expert-parallel",
    "enable-prefix-caching",
    "enforce-eager",
    "disable-cascade-attn",
    "disable-chunked-mm-input",
    "disable-custom-all-reduce",
    "disable-hybrid-kv-cache-manager",
    "disable-sliding-window",
    "disable-uvicorn-access-log",
    "skip-mm-profiling",
)
"""each also as --no-..."""

ENGINE_ARGS: Mapping[str, Kind | None] = {
    # lengths and batches
    "--max-model-len": _whole(1, 2**24),
    "--max-num-seqs": _whole(1, 65_536),
    "--max-num-batched-tokens": _whole(1, 2**24),
    "--long-prefill-token-threshold": _whole(0, 2**24),
    "--max-logprobs": _whole(20, 1000),
    "--max-cudagraph-capture-size": _whole(0, 65_536),
    "--scheduling-policy": _one_of("fcfs", "priority"),
    "--seed": _whole(0, 2**31 - 1),
    # memory
    "--gpu-memory-utilization": _number(0.01, 1),
    "--kv-cache-memory-bytes": _whole(1, 2**46),
    "--kv-cache-dtype": _one_of("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"),
    "--block-size": _one_of("1", "8", "16", "32", "64", "128", "256"),
    "--num-gpu-blocks-override": _whole(1, 2**31 - 1),
    "--cpu-offload-gb": _number(0, 4096),
    "--swap-space": _number(0, 4096),
    # several cards of this machine
    "--tensor-parallel-size": _whole(1, 1024),
    "--pipeline-parallel-size": _whole(1, 1024),
    "--data-parallel-size": _whole(1, 1024),
    "--max-parallel-loading-workers": _whole(1, 1024),
    "--distributed-executor-backend": _one_of("mp", "uni"),
    # precision
    "--dtype": _one_of(*_DTYPES),
    "--quantization": _one_of(
        "awq", "awq_marlin", "bitsandbytes", "compressed-tensors", "fp8", "gptq", "gptq_marlin", "modelopt",
        "modelopt_fp4", "mxfp4", "torchao",
    ),
    "--attention-backend": _one_of(
        "CPU_ATTN", "FLASHINFER", "FLASH_ATTN", "FLEX_ATTENTION", "TORCH_SDPA", "TRITON_ATTN"
    ),
    # pictures
    "--limit-mm-per-prompt": _numbers_of("image", "video", "audio"),
    "--mm-processor-kwargs": _numbers_of("min_pixels", "max_pixels", "num_crops", "max_dynamic_patch"),
    "--mm-processor-cache-gb": _number(0, 1024),
    "--mm-processor-cache-type": _one_of("lru", "shm"),
    "--mm-encoder-tp-mode": _one_of("weights", "data"),
    # messages
    "--uvicorn-log-level": _one_of("critical", "error", "warning", "info", "debug"),
    "--disable-log-stats": None,
    **{f"--{start}{name}": None for name in _SWITCHES for start in ("", "no-")},
}  # fmt: skip
"""Option -> what its value has to be; None: it takes none"""

_ELSEWHERE = "start vLLM yourself for that, and name it as base_url"


@dataclass(frozen=True, slots=True)
class _Reason:
    text: str
    options: tuple[str, ...]


def _reasons(keys: str) -> tuple[_Reason, ...]:
    return (
        _Reason(keys, ("--api-key", "--hf-token", "--ssl-keyfile", "--ssl-keyfile-password")),
        _Reason(
            "the server has no users of its own and stays on this machine; to open it to others, start vLLM yourself "
            "behind what asks for passwords, and name it as base_url",
            ("--host", "--port", "--uds", "--headless", "--grpc", "--root-path", "--allowed-origins"),
        ),
        _Reason(
            "it runs code that comes with the checkpoint; start vLLM yourself where you have read it, and name it as "
            "base_url",
            ("--trust-remote-code", "--code-revision"),
        ),
    )


def require_engine_args(options: Sequence[str], keys: str) -> None:
    """Raises ValueError, which repeats no value, for what is not in ENGINE_ARGS. `keys`: what is said of keys."""
    seen: set[str] = set()
    waiting = list(options)
    while waiting:
        option = waiting.pop(0)
        if option not in ENGINE_ARGS:
            raise ValueError(_refusal(option, keys))
        if option in seen:
            raise ValueError(f"{option} stands twice")
        seen.add(option)
        kind = ENGINE_ARGS[option]
        if kind is None:
            continue
        if wanted := kind(waiting.pop(0)) if waiting else "followed by its value, an element of its own":
            raise ValueError(f"{option} has to be {wanted}")


def _refusal(option: str, keys: str) -> str:
    name = re.split(r"[=.\s]", option, maxsplit=1)[0].replace("_", "-").lower()
    if not re.fullmatch(r"--?[a-z0-9][a-z0-9-]{0,60}", name):
        return "an element that is no option of vLLM, nor the value of the one before; each is one of its own"
    if name in ENGINE_ARGS:
        return f"{name} is not passed on in this form: write it as {name}, and its value as an element of its own"
    for reason in _reasons(keys):
        # vLLM understands a beginning of an option too
        found = [full for full in reason.options if len(name) > len("--") and full.startswith(name)]
        if found and name.startswith("--"):
            return f"{found[0]} is not passed on: {reason.text}"
    near = get_close_matches(name, ENGINE_ARGS, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"{name} is not passed on{meant}: a tier may say what changes memory, lengths, parallelism and precision "
        f"(docs/serving.md lists the options), and nothing that loads code or files, or opens or sends to an address; "
        f"{_ELSEWHERE}"
    )
