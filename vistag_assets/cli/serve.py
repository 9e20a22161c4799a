"""`vistag serve`: a server for the vision-language model of a tier, for as long as the command runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from resources.home.private import outer_umask
from resources.http_client import HttpError, ask
from resources.models.tiers import Tier
from resources.models.vlms import VlmSpec
from resources.models.vlms.server import (
    OTHERS,
    TRTLLM_SETTINGS,
    other_command,
    serve_command,
    serve_environment,
    vllm_program,
)
from resources.models.vlms.spec import API_KEY
from vistag_assets.automation.processes import HOST, POLL_SECONDS, interrupts_are_raised, port_answers, stop

_LAST_LINES = 20
_HEALTH_SECONDS = 5


class ServeError(RuntimeError):
    """There is nothing to serve, or the server could not be started, or it ended by itself."""


def served_spec(tier: Tier, *, heavy: bool, engine: str | None = None) -> VlmSpec:
    """The model of a lane that `vistag serve` starts a server for. Raises ServeError.

    `engine`: which server is wanted; None: the tier's.
    """
    role = "heavy_vlm" if heavy else "vlm"
    spec: VlmSpec | None = getattr(tier, role)
    if spec is None:
        raise ServeError(f"The tier {tier.name} names no {role}.")
    if not spec.is_served:
        raise ServeError(
            f"The {role} of the tier {tier.name} runs in the process of a run (engine: {spec.engine}) and needs no "
            "server. For one, write `engine: openai` under it in a tier file of your own."
        )
    if spec.server.base_url:
        raise ServeError(
            f"The {role} of the tier {tier.name} is served by others, at {spec.server.base_url}."
        )
    if engine not in (None, spec.server.program):
        raise ServeError(
            f"The {role} of the tier {tier.name} is asked as {spec.server.program} is, and {engine} has another dialect: write "
            f"`program: {engine}` under its `server`."
        )
    return spec


def serve(
    spec: VlmSpec,
    log: Path,
    on_start: Callable[[str], None],
    on_wait: Callable[[str], None],
    on_ready: Callable[[], bool],
) -> None:
    """Run the server until SIGTERM, or until Ctrl-C, which raises KeyboardInterrupt; it and its children are gone then.

    Its messages go to `log`. `on_start` is told the command; `on_wait`, until it is healthy, its last message;
    then `on_ready` says whether to go on. Raises ServeError where the port is taken or the server ends by itself,
    NoServerError where there is none to start.
    """
    port = spec.server.port
    command = command_of(spec, log.with_suffix(".yaml"))
    if port_answers(port):
        raise ServeError(
            f"Port {port} is in use: this server may be running already. Else give another `server.port` in the tier."
        )
    on_start(shlex.join(command))
    log.parent.mkdir(parents=True, exist_ok=True)
    with interrupts_are_raised(), log.open("wb") as messages:
        # in a group of its own: Ctrl-C reaches it once, through us
        process = subprocess.Popen(
            command,
            env=serve_environment(),
            stdout=messages,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=outer_umask(),
        )
        try:
            while not _healthy(port):
                _require_running(process, log)
                on_wait(_last_lines(log, 1))
                time.sleep(POLL_SECONDS)
            if on_ready():
                _stay(process, log)
        finally:
            stop([process])


def command_of(spec: VlmSpec, settings: Path) -> list[str]:
    """The command that serves a model of a tier; what a server reads from a file alone is put into `settings`.

    Raises NoServerError where there is none to start, or it does not have what the tier asks.
    """
    if spec.server.program == "vllm":
        return serve_command(spec, vllm_program())
    command = other_command(spec, OTHERS[spec.server.program].path(), settings)
    if spec.server.program == "trtllm":
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(TRTLLM_SETTINGS, encoding="utf-8")
    return command


def _stay(process: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        _require_running(process, log)
        time.sleep(POLL_SECONDS)


def _require_running(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise ServeError(
            f"The server ended with code {process.returncode}. Its last messages (all are in {log}):\n"
            f"{_last_lines(log, _LAST_LINES)}"
        )


def _healthy(port: int) -> bool:
    key = os.environ.get(API_KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        return (
            ask("GET", f"http://{HOST}:{port}/health", seconds=_HEALTH_SECONDS, headers=headers).status == 200
        )
    except HttpError:
        return False


def _last_lines(log: Path, count: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-count:])
