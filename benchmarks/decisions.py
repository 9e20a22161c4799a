"""Whether a decision that was answered is ever lost or doubled: python -m benchmarks.decisions --kills 10.

Clients post decisions to `vistag app` and repeat each until it is answered, while the server is killed (SIGKILL) and
started again. In the end the log is read over HTTP and held against what was answered.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import VISTAG
from resources.home import Home, Settings, write_settings

HOST = "127.0.0.1"
_START_SECONDS = 120
_PAUSE_SECONDS = 0.05
_VERDICTS = ("accept", "reject", "skip")


@dataclass
class Held:
    """What the log holds of what was answered."""

    clients: int
    decisions: int
    kills: int
    seconds: float
    asked_again: int
    """requests that got no answer, or that the server was not there for"""
    answered: int
    lost: int
    doubled: int
    out_of_order: int

    @property
    def is_whole(self) -> bool:
        return self.answered == self.decisions and not (self.lost or self.doubled or self.out_of_order)


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


@dataclass
class Server:
    """`vistag app` on a port, in a process that can be killed."""

    home: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*VISTAG, "app", "--home", str(self.home), "--port", str(self.port)]
        with (self.home / "app.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"vistag app did not start: {(self.home / 'app.log').read_text()}")
            time.sleep(_PAUSE_SECONDS)

    def kill(self) -> None:
        """As a power cut does it to a process: it gets no chance to tidy up."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer's JSON. Raises OSError or HTTPException where the server is not there any more."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status}: {said}")
        return said

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/health"))
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def served(home: Path) -> Iterator[Server]:
    server = Server(home)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def measure(clients: int, decisions: int, kills: int) -> Held:
    """Post so many decisions in all, with so many kills in the middle of them."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        home.root.mkdir(mode=0o700)
        write_settings(home, Settings(tier="demo"))
        with served(home.root) as server:
            return _measure(server, clients, decisions, kills)


def _measure(server: Server, clients: int, decisions: int, kills: int) -> Held:
    answered: dict[str, int] = {}
    again: Counter[str] = Counter()
    began = time.perf_counter()

    def post(client: int) -> None:
        for number in range(client, decisions, clients):
            decision = {
                "folder": "photos--2024",
                "image_id": f"{number % 997:032x}",
                "concept_id": "vase",
                "verdict": _VERDICTS[number % len(_VERDICTS)],
                "reviewer": f"reviewer {client}",
                "client_id": f"{client}-{number}",
            }
            while True:
                try:
                    answered[decision["client_id"]] = server.ask("POST", "/api/decisions", decision)["seq"]
                    break
                except (OSError, http.client.HTTPException):
                    again[decision["client_id"]] += 1
                    time.sleep(_PAUSE_SECONDS)

    threads = [threading.Thread(target=post, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for kill in range(1, kills + 1):
        while len(answered) < decisions * kill // (kills + 1):
            time.sleep(_PAUSE_SECONDS)
        server.kill()
        server.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    lines = server.ask("GET", "/api/decisions?since=0")
    seq_of = {line["client_id"]: line["seq"] for line in lines}
    seqs = [line["seq"] for line in lines]
    return Held(
        clients,
        decisions,
        kills,
        seconds,
        sum(again.values()),
        len(answered),
        lost=sum(seq_of.get(client_id) != seq for client_id, seq in answered.items()),
        doubled=len(lines) - len(seq_of),
        out_of_order=sum(later <= earlier for earlier, later in itertools.pairwise(seqs)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    held = measure(options.clients, options.decisions, options.kills)
    print(
        f"{held.clients} clients, {held.decisions:,} decisions, {held.kills} kills: {held.answered:,} answered in "
        f"{held.seconds:.0f} s, {held.asked_again:,} asked again; {held.lost} lost, {held.doubled} doubled, "
        f"{held.out_of_order} out of order"
    )
    if not held.is_whole:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
