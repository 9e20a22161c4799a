"""Dagster's storage under several runs at once: SQLite, and a real PostgreSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
import yaml
from postgres_server import postgres_server
from services import ROOT, VISTAG, Web, environment, free_port, started, wait_for
from small_library import draw, tiny_home
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home import Home
from vistag_assets.automation.instance import contiguous_ranges, home_instance
from vistag_assets.automation.verify import verify_home
from vistag_assets.cli import app
from vistag_assets.definitions import defs
from vistag_assets.partitions import FOLDERS, add_folders, range_tags
from vistag_assets.runs import find_library

VARIABLES = tuple(f"VISTAG_PG_{name}" for name in ("HOST", "PORT", "DATABASE", "USER", "PASSWORD"))
IMAGES_A_FOLDER = 3
INGEST = ("images", "rejects", "proxies")
"""What a run makes here: the stages that load no model, so that the runs of a test cost little."""


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with postgres_server() as variables:
        yield variables


@pytest.fixture
def postgres(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return server


def settings_of(storage: str) -> str:
    return (ROOT / "deploy" / f"dagster-{storage}.yaml").read_text()


def write_settings(home: Home, text: str) -> None:
    home.dagster_dir.mkdir(parents=True)
    (home.dagster_dir / "dagster.yaml").write_text(text)


# What is written


def test_the_variants_differ_in_storage_only() -> None:
    sqlite, postgres = (yaml.safe_load(settings_of(name)) for name in ("sqlite", "postgres"))
    storage = postgres.pop("storage")
    assert sqlite == postgres
    settings = storage["postgres"]["postgres_db"].values()
    assert [value["env"] for value in settings if isinstance(value, dict)] == list(VARIABLES)


# What is said where it cannot be used


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def fails(home: Home) -> str:
    """What `vistag daemon` says of the home instead of becoming Dagster's."""
    said = CliRunner().invoke(app, ["daemon", "--home", str(home.root)])
    assert said.exit_code == 1, said
    return said.output[said.output.index("Error: ") :]


def test_a_variable_that_is_missing_is_named(
    tmp_path: Path, no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    write_settings(home, settings_of("postgres"))
    monkeypatch.setenv("VISTAG_PG_HOST", "127.0.0.1")
    said = fails(home)
    assert f"{home.dagster_dir / 'dagster.yaml'}: " in said
    assert '"VISTAG_PG_PASSWORD" which is not set' in said
    assert "VISTAG_PG_HOST" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("storage: [", "this is not YAML"),
        ("nonsense: 1\n", 'unexpected config entry "nonsense"'),
    ],
)
def test_settings_that_dagster_does_not_know_are_told(tmp_path: Path, text: str, told: str) -> None:
    home = Home(tmp_path / "home")
    write_settings(home, text)
    assert told in fails(home)


@pytest.mark.slow
def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_settings(home, settings_of("postgres"))
    code = (
        "import sys; sys.modules['dagster_postgres'] = None\n"
        "from typer.testing import CliRunner; from vistag_assets.cli import app\n"
        f"print(CliRunner().invoke(app, ['run', {str(ROOT / 'docs')!r}, '--home', {str(home.root)!r}]).output)"
    )
    variables = dict.fromkeys(VARIABLES, "1")
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**variables), capture_output=True, text=True, check=True
    )
    assert "the package dagster_postgres is not installed" in done.stdout
    assert "pip install -e '.[postgres]'" in done.stdout


@pytest.mark.slow
def test_a_server_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    write_settings(home, settings_of("postgres"))
    port = str(free_port())
    for name, value in zip(VARIABLES, ("127.0.0.1", port, "d", "u", "secret"), strict=True):
        monkeypatch.setenv(name, value)
    said = fails(home)
    assert f'the database cannot be used: connection to server at "127.0.0.1", port {port}' in said
    assert "secret" not in said


# Runs at once


def run_at_once(home: Home, library: Path, runs: int, storage: str, log: Path) -> None:
    """A run a folder, queued as the UI does it; all of them are at their first write at one moment."""
    settings = yaml.safe_load(settings_of(storage))
    settings["concurrency"]["runs"]["max_concurrent_runs"] = runs
    write_settings(home, yaml.safe_dump(settings))
    for folder in range(runs):
        for number in range(IMAGES_A_FOLDER):
            draw(library / str(folder) / f"{number}.png", seed=folder * 1000 + number)
    folders = find_library(library, "lib", home)
    keys = [folder.key for folder in folders]
    home.register(*folders)
    with home_instance(home.root) as instance:
        add_folders(instance, keys)
    port = free_port()
    web, at_home = Web(port), ["--home", str(home.root)]
    commands = [[VISTAG, "web", *at_home, "--port", str(port)], [VISTAG, "daemon", *at_home]]
    with started(commands, log, environment(TMPDIR=str(log.parent))):
        wait_for(web.answers)
        with ExitStack() as doors:
            for key in keys:
                doors.enter_context(home.lake.locked("images", key))
            asked = {web.launch(home, key, key, INGEST) for key in keys}
            wait_for(lambda: list(web.runs().values()) == ["STARTED"] * runs)
        wait_for(lambda: "STARTED" not in web.runs().values())
        assert web.runs() == dict.fromkeys(asked, "SUCCESS"), log.read_text()
    assert "database is locked" not in log.read_text()
    assert home.lake.folders("images") == keys
    assert home.lake.read_all("images").num_rows == runs * IMAGES_A_FOLDER
    assert verify_home(home, deep=True).findings == ()


@pytest.mark.slow
def test_sqlite_takes_four_runs_at_once(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    run_at_once(home, tmp_path / "many", 4, "sqlite", tmp_path / "log")


@pytest.mark.slow
def test_postgres_takes_eight_runs_at_once(tmp_path: Path, postgres: dict[str, str]) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    run_at_once(home, tmp_path / "many", 8, "postgres", tmp_path / "log")
    assert not list(home.dagster_dir.rglob("*.db"))


# Many folders


@pytest.fixture
def narrow_sqlite() -> Iterator[None]:
    """SQLite as its makers publish it: 32,766 variables in a statement. Debian's takes 250,000."""

    def narrow(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32766)

    event.listen(Engine, "connect", narrow)
    yield
    event.remove(Engine, "connect", narrow)


@pytest.mark.slow
def test_sqlite_holds_forty_thousand_folders(tmp_path: Path, narrow_sqlite: None) -> None:
    keys = [f"lib--{number:05d}" for number in range(40_000)]
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    folders = find_library(tmp_path / "library", "zoo", home)
    home.register(*folders)
    with home_instance(home.root) as instance:
        with pytest.raises(Exception, match="too many SQL variables"):
            instance.add_dynamic_partitions("another", keys)
        assert add_folders(instance, keys) == keys
        ordered = add_folders(instance, [folder.key for folder in folders])
        assert ordered == [*keys, "zoo--a", "zoo--b"]
        assert instance.has_dynamic_partition(FOLDERS, keys[-1])
        assert contiguous_ranges(ordered, keys) == [(keys[0], keys[-1])]
        result = defs.resolve_job_def("tag_folders").execute_in_process(
            instance=instance,
            run_config={"resources": {"vistag": {"config": {"home": str(home.root)}}}},
            tags=range_tags("zoo--a", "zoo--b"),
            asset_selection=[dg.AssetKey(name) for name in INGEST],
        )
        assert result.success
        assert instance.get_materialized_partitions(dg.AssetKey("images")) == {"zoo--a", "zoo--b"}
        instance.delete_dynamic_partition(FOLDERS, keys[0])
        assert len(instance.get_dynamic_partitions(FOLDERS)) == 40_001
