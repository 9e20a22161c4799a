"""The web server and the daemon of a home, as a service manager starts, asks and stops them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resources.home import Home
from resources.workspace import run_config
from vistag_assets.automation.processes import signal_group
from vistag_assets.partitions import TAG_FOLDERS, range_tags

VISTAG = str(Path(sys.executable).parent / "vistag")
ROOT = Path(__file__).parents[2]
_LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $config: RunConfigData!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: $selector, runConfigData: $config, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""


def environment(**variables: str) -> dict[str, str]:
    helpers = Path(__file__).parent
    folders = sorted(path for path in helpers.iterdir() if path.is_dir())
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, helpers, *folders)))} | variables


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 480) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)


@contextmanager
def started(commands: Sequence[Sequence[str]], log: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Each command in a group of processes of its own, all of which are told to end (SIGTERM), and end."""
    with log.open("a") as messages:
        processes = [
            subprocess.Popen(command, env=env, stdout=messages, stderr=messages, start_new_session=True)
            for command in commands
        ]
    try:
        yield
        assert [process.poll() for process in processes] == [None] * len(processes), log.read_text()
    finally:
        for process in processes:
            signal_group(process, signal.SIGTERM)
        for process in processes:
            process.wait(120)
            wait_for(lambda head=process: not signal_group(head, 0), 120)


class Web:
    """Dagster's web server on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        """Whether it is there, and knows the jobs of vistag."""
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=30) as answer:
                assert "dagster_version" in json.load(answer)
        except OSError:
            return False
        said = self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
        return "nodes" in said["repositoriesOrError"]

    def ask(self, query: str, **variables: object) -> Any:
        """The data of a GraphQL answer."""
        question = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", question, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def launch(self, home: Home, first: str, last: str, assets: Sequence[str]) -> str:
        """Ask for a run of some assets, as the UI does; returns its id."""
        selector = {
            "repositoryLocationName": "vistag_assets.definitions",
            "repositoryName": "__repository__",
            "pipelineName": TAG_FOLDERS,
            "assetSelection": [{"path": [asset]} for asset in assets],
            "assetCheckSelection": [],
        }
        tags = [{"key": key, "value": value} for key, value in range_tags(first, last).items()]
        said = self.ask(_LAUNCH, selector=selector, config=run_config(home), tags=tags)["launchRun"]
        assert said["__typename"] == "LaunchRunSuccess", said
        return str(said["run"]["runId"])

    def runs(self) -> dict[str, str]:
        """Run -> its status."""
        said = self.ask("{ runsOrError { ... on Runs { results { runId status } } } }")
        return {run["runId"]: run["status"] for run in said["runsOrError"]["results"]}
