"""deploy/ and the pages that lead through it: what the units and containers start is started here."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer.main
import yaml
from faulty_server import write_tier
from services import ROOT, VISTAG, Web, environment, free_port, started, wait_for
from small_library import draw, tiny_home
from stand_in_vllm import write_program
from tiny_checkpoint import save_tiny_siglip

from resources.home import Home, Settings, read_settings, write_settings
from resources.models.vlms.server import PROGRAM
from vistag_assets.automation.instance import home_instance
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app
from vistag_assets.partitions import add_folders
from vistag_assets.runs import find_library

UNITS = ROOT / "deploy" / "systemd"
SERVICES = ("vistag-app", "vistag-daemon", "vistag-web", "vistag-vllm")
INSTALLED = "/opt/vistag"
BIN = Path(sys.executable).parent


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((UNITS / f"{name}.service").read_text())
    return parser


def command_of(name: str) -> list[str]:
    """What a unit starts, of the environment that the tests run in."""
    command = shlex.split(unit(name)["Service"]["ExecStart"])
    assert command[0] == f"{INSTALLED}/.venv/bin/vistag"
    return [VISTAG, *command[1:]]


def variables_of_the_example() -> dict[str, str]:
    """All of deploy/vistag.env, with what stands behind a comment sign."""
    lines = (ROOT / "deploy" / "vistag.env").read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.fullmatch(r"#?([A-Z_]+)=(.*)", line)))


def compose(name: str = "compose") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / f"{name}.yaml").read_text())
    return loaded


def postgres_variables() -> set[str]:
    return set(re.findall(r"env: (\w+)", (ROOT / "deploy" / "dagster-postgres.yaml").read_text()))


# systemd


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze on this machine: apt-get install systemd")
    for file in UNITS.iterdir():
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace(f"{INSTALLED}/.venv/bin", str(BIN)))
    files = sorted(tmp_path.iterdir())
    assert {file.stem for file in files} == {"vistag", *SERVICES}
    checked = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_write_to_its_state_and_reach_nothing_else(name: str) -> None:
    service = unit(name)["Service"]
    home = Path(variables_of_the_example()["VISTAG_HOME"])
    assert home.is_relative_to(Path("/var/lib") / service["StateDirectory"])
    hardened = {"ProtectSystem": "strict", "ProtectHome": "read-only", "NoNewPrivileges": "yes"}
    assert {option: service[option] for option in hardened} == hardened
    assert service["User"] == "vistag"
    assert service["Restart"] == "on-failure"
    assert "host" not in service["ExecStart"]  # loopback, where nothing else is said


def test_the_example_of_an_environment_names_what_is_read() -> None:
    variables = variables_of_the_example()
    assert {name for name in variables if name.startswith("VISTAG_PG_")} == postgres_variables()
    code = "\n".join(
        path.read_text()
        for folder in ("resources", "vistag_assets")
        for path in (ROOT / folder).rglob("*.py")
    )
    others = {name for name in variables if name.startswith("VISTAG_")} - postgres_variables()
    assert all(f'"{name}"' in code for name in others)
    assert variables["VISTAG_PG_PASSWORD"] == variables["VISTAG_VLM_API_KEY"] == ""


@pytest.mark.slow
def test_the_services_start_are_healthy_and_end_with_their_run(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    (folder, _) = find_library(tmp_path / "library", "lib", home)
    home.register(folder)
    with home_instance(home.root) as instance:
        add_folders(instance, [folder.key])
    web_port = free_port()
    commands = [command_of("vistag-daemon"), command_of("vistag-web")]
    commands[1] = [str(web_port) if word == "3000" else word for word in commands[1]]
    web, log = Web(web_port), tmp_path / "log"
    variables = environment(VISTAG_HOME=str(home.root))
    with home.lake.locked("images", folder.key):
        with started(commands, log, variables):
            wait_for(web.answers)
            run = web.launch(home, folder.key, folder.key, ("images", "rejects", "proxies"))
            wait_for(lambda: web.runs()[run] == "STARTED")
            for service in ("web", "daemon"):
                assert healthcheck(service, web_port, home) == 0
        with home_instance(home.root) as instance:
            ended = instance.get_run_by_id(run)
    assert ended is not None
    assert ended.status.value == "FAILURE"  # not "STARTED" for ever, which would hold up the queue
    assert healthcheck("web", web_port, home) == 1


def healthcheck(service: str, web_port: int, home: Home) -> int:
    """The exit code of a container's check of its health, with the paths and the port of this machine."""
    kind, *command = compose()["services"][service]["healthcheck"]["test"]
    assert kind == "CMD"
    at_home = "/var/lib/vistag/home/dagster"
    command = [
        re.sub(r":(3000|8000)/", f":{web_port}/", word.replace(at_home, str(home.dagster_dir)))
        for word in command
    ]
    path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(command, env=environment(**path), capture_output=True).returncode


def test_systemd_is_told_when_the_model_answers(tmp_path: Path) -> None:
    assert unit("vistag-vllm")["Service"]["Type"] == "notify"
    assert unit("vistag-vllm")["Unit"]["Before"] == "vistag-daemon.service"
    program = write_program(tmp_path)
    home, port = Home(tmp_path / "home"), free_port()
    served = write_tier(tmp_path, {"engine": "openai", "server": {"port": port}})
    write_settings(home, Settings(tier=str(served)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(120)
        variables = {
            "VISTAG_HOME": str(home.root),
            PROGRAM: str(program),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
        }
        with started([command_of("vistag-vllm")], tmp_path / "log", environment(**variables)):
            assert systemd.recv(100) == b"READY=1"
            with socket.create_connection(("127.0.0.1", port), timeout=10):
                pass


def test_systemd_is_told_when_the_application_answers(tmp_path: Path) -> None:
    assert unit("vistag-app")["Service"]["Type"] == "notify"
    home, port = Home(tmp_path / "home"), free_port()
    home.root.mkdir()
    write_settings(home, Settings())
    command = [str(port) if word == "8000" else word for word in command_of("vistag-app")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(120)
        variables = {"VISTAG_HOME": str(home.root), "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with started([command], tmp_path / "log", environment(**variables)):
            assert systemd.recv(100) == b"READY=1"
            assert healthcheck("app", port, home) == 0


# Containers


def test_containers_are_reached_from_this_machine_only_and_read_the_library() -> None:
    for file in (compose(), compose("compose.gpu")):
        for service in file["services"].values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    for name in ("web", "daemon"):
        service = compose()["services"][name]
        assert any(volume.endswith(":/library:ro") for volume in service["volumes"])
        assert {"home:/var/lib/vistag", "tmp:/tmp"} <= set(service["volumes"])
        assert postgres_variables() <= set(service["environment"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    # the other containers reach the web server: nobody does without its token
    assert "0.0.0.0" in compose()["services"]["web"]["command"]
    assert compose()["services"]["web"]["environment"]["VISTAG_WEB_TOKEN"].startswith("${VISTAG_WEB_TOKEN:?")


def test_containers_start_commands_of_the_command_line() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    services = [*compose()["services"].values(), *compose("compose.gpu")["services"].values()]
    given = [service["command"] for service in services if "command" in service]
    assert [name for name, *_ in given] == ["web", "app", "daemon", "serve"]
    for name, *options in given:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known


def test_the_image_holds_what_the_package_is_made_of() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    copied = [source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert all((ROOT / source).exists() for source in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(copied)


def test_compose_takes_the_files() -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("there is no docker compose on this machine")
    files = [
        word for name in ("compose", "compose.gpu") for word in ("-f", str(ROOT / "deploy" / f"{name}.yaml"))
    ]
    needed = {"VISTAG_LIBRARY": "/photographs", "VISTAG_PG_PASSWORD": "secret", "VISTAG_WEB_TOKEN": "secret"}
    subprocess.run(["docker", "compose", *files, "config", "-q"], env=environment(**needed), check=True)


# The page


def commands_of_the_page() -> list[str]:
    """The lines of the first block of docs/operations.md, without what they say of themselves."""
    page = (ROOT / "docs" / "operations.md").read_text()
    block = page[page.index("```sh\n") + len("```sh\n") :]
    return [line.split("  #")[0].strip() for line in block[: block.index("```")].splitlines()]


@pytest.mark.slow
def test_the_page_leads_to_a_folder_that_is_tagged_by_itself_and_its_home_can_be_moved(
    tmp_path: Path,
) -> None:
    install, activate, watch, dev = commands_of_the_page()
    assert "pip install -c constraints.txt -e ." in install  # what made the environment of this test
    assert activate == ". .venv/bin/activate"
    # a tier that costs little, where the page has `demo`; the rest of the home is as a new user's
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    collection = tmp_path / "Pictures" / "collection"
    collection.mkdir(parents=True)
    variables = environment(
        HOME=str(tmp_path), VISTAG_HOME=str(home.root), PATH=f"{BIN}:{os.environ['PATH']}"
    )

    def shell(command: str) -> str:
        done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell(watch)
    assert read_settings(home).watched == {"collection": str(collection)}
    shell("vistag watch --settle 1")  # for the time that this test takes
    port = free_port()
    web, log = Web(port), tmp_path / "log"
    with log.open("w") as messages:
        served = subprocess.Popen(
            ["bash", "-c", f"exec {dev} --port {port}"], env=variables, stdout=messages, stderr=messages
        )
    try:
        wait_for(web.answers)
        for number in range(5):
            draw(collection / "summer" / f"{number}.png", seed=number)
        wait_for(lambda: "SUCCESS" in web.runs().values())
        assert "collection--summer" in shell('vistag sql "select folder, count(*) from tags group by all"')
        with home.lake.locked("images", "collection--summer"):
            run = web.launch(
                home, "collection--summer", "collection--summer", ("images", "rejects", "proxies")
            )
            wait_for(lambda: web.runs()[run] == "STARTED")
            children = psutil.Process(served.pid).children(recursive=True)
            served.send_signal(signal.SIGINT)
            assert served.wait(60) == 130
        assert psutil.wait_procs(children, timeout=60)[1] == []
    finally:
        served.kill()
    assert verify_home(home, deep=True).findings == ()

    copy = Home(tmp_path / "elsewhere" / "home")
    copy.root.parent.mkdir()
    shell(f"tar -C {tmp_path} --exclude home/proxies -czf {tmp_path / 'vistag.tar.gz'} home")
    shell(f"tar -C {copy.root.parent} -xzf {tmp_path / 'vistag.tar.gz'}")
    shutil.rmtree(home.root)
    told = shell(f"vistag run ~/Pictures/collection --home {copy.root}")
    assert "Nothing new: 5 images unchanged" in told
    with home_instance(copy.root) as instance:
        statuses = {record.run_id: record.status.value for record in instance.get_runs()}
    assert statuses.pop(run) == "FAILURE"
    assert len(statuses) >= 2
    assert set(statuses.values()) == {"SUCCESS"}
    assert verify_home(copy, deep=True).findings == ()
