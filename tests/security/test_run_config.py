"""What whoever starts a run may configure: no variable of the environment is read, and no other home is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._config import BoolSource, IntSource, StringSource

from resources.home import Home
from resources.workspace import run_config
from vistag_assets.automation.verify_job import VERIFY
from vistag_assets.definitions import defs

SECRET = "a-secret-of-the-environment"
FROM_ENVIRONMENT = {source.key for source in (BoolSource, IntSource, StringSource)}


def configurable(kind: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, kind) of all that the configuration of a run may say."""
    yield path, kind.key
    for name, field in (getattr(kind, "fields", None) or {}).items():
        yield from configurable(field.config_type, f"{path}.{name}")
    if inner := getattr(kind, "inner_type", None):
        yield from configurable(inner, f"{path}[]")


def test_no_configuration_of_any_job_is_read_from_the_environment_or_names_a_folder_of_pickles() -> None:
    jobs = defs.get_repository_def().get_all_jobs()
    assert len(jobs) >= 5
    for job in jobs:
        said = dict(configurable(job.run_config_schema.config_type))
        assert ".resources.vistag.config.home" in said
        assert {path: kind for path, kind in said.items() if kind in FROM_ENVIRONMENT} == {}
        assert not any("base_dir" in path for path in said)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("VISTAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SECRET", SECRET)
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    return Home(tmp_path / "home")


def run(home: Home, config: Any) -> tuple[bool, str]:
    """Whether a run succeeds with a configuration, and all that Dagster kept of it."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def(VERIFY).execute_in_process(
            instance=instance, run_config=config, raise_on_error=False
        )
        kept = [instance.get_run_by_id(result.run_id), *instance.all_logs(result.run_id)]
        return result.success, "\n".join(map(repr, kept))


@pytest.mark.parametrize(
    "named", [{"env": "SECRET"}, {"env": "NO_VARIABLE"}, "{planted}", "../elsewhere", ["home"], 3]
)
def test_a_run_that_names_another_home_is_refused(home: Home, tmp_path: Path, named: Any) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    named = str(planted) if named == "{planted}" else named
    succeeded, kept = run(home, {"resources": {"vistag": {"config": {"home": named}}}})
    assert not succeeded
    assert f"names another home than {home.root}" in kept
    assert SECRET not in kept
    assert list(planted.iterdir()) == []


def test_a_run_may_name_the_home_of_its_process(home: Home, tmp_path: Path) -> None:
    for named in (home, Home(tmp_path / "link")):
        assert run(home, run_config(named))[0]
    assert run(home, {})[0]
