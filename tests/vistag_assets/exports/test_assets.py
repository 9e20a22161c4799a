"""An asset a format, the sensor that asks for those that a home follows, and `vistag export --follow`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from exporting import content, export
from hand_made_lake import FOLDER, make_home, tables, write
from sensor_daemon import Daemon
from typer.testing import CliRunner

from resources.home import ExportSettings, FolderRef, Home, read_settings, write_settings
from resources.workspace import run_config
from sensors.stale_exports import stale_exports
from vistag_assets.cli import app
from vistag_assets.definitions import defs
from vistag_assets.exports.job import ExportError
from vistag_assets.partitions import EXPORT
from vistag_assets.runs import export as export_in_run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@pytest.fixture
def daemon(home: Home) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(home, instance, stale_exports)


def follow(home: Home, **exports: ExportSettings) -> None:
    write_settings(home, read_settings(home).model_copy(update={"exports": exports}))


def test_a_home_that_follows_nothing_is_asked_for_nothing(daemon: Daemon) -> None:
    assert daemon.ticks(3) == []
    assert "follows no export" in daemon.skipped


def test_what_a_home_follows_is_written_again_when_it_says_something_else(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, out = daemon.home, tmp_path / "out"
    monkeypatch.setenv("VISTAG_HOME", str(home.root))
    follow(home, csv=ExportSettings(to=str(out), options={"separator": ";"}), voc=ExportSettings())
    (request,) = daemon.tick()
    assert [key.to_user_string() for key in request.asset_selection or ()] == ["export_csv", "export_voc"]
    assert daemon.ticks(2) == []
    write(home, "ocr_text", tables()["ocr_text"][:1])  # says nothing in either
    assert daemon.ticks(2) == []
    write(home, "captions", [row | {"caption": "another"} for row in tables()["captions"]])
    (request,) = daemon.tick()
    job = defs.resolve_job_def(EXPORT)
    done = job.execute_in_process(
        instance=daemon.instance,
        run_config=run_config(home),
        asset_selection=list(request.asset_selection or ()),
        tags=request.tags,
    )
    assert done.success
    assert "another" in (out / "images.csv").read_text(encoding="utf-8")
    assert (home.root / "exports/voc/Annotations/lib/a/1.xml").is_file()
    (made,) = done.asset_materializations_for_node("export_csv")
    assert (made.metadata["files_written"].value, made.metadata["path"].value) == (2, str(out))


def test_a_run_writes_what_the_home_follows_and_what_of_gone_folders_goes(home: Home, tmp_path: Path) -> None:
    other = FolderRef("lib--b", "lib", str(home.root / "library"), "b")
    home.register(other)
    rows = home.lake.read("images", FOLDER)
    home.lake.write(
        "images",
        rows.set_column(rows.column_names.index("path"), "path", [["b/1.jpg", "b/2.jpg", "b/3.jpg"]]),
        other.key,
    )
    home.lake.write("proxies", home.lake.read("proxies", FOLDER), other.key)
    follow(home, voc=ExportSettings(to=str(tmp_path / "out")))
    (made,) = export_in_run(home, lambda *_: None)
    assert (made["asset"], made["not_written"]) == ("export_voc", 0)
    export(home, "voc", tmp_path / "command")
    assert content(tmp_path / "out") == content(tmp_path / "command")
    home.mark_gone(other)
    (made,) = export_in_run(home, lambda *_: None)
    assert made["files_removed"] == 6
    assert not (tmp_path / "out/Annotations/lib/b/1.xml").exists()


def test_the_command_has_it_followed_as_it_was_told_and_ends_that(home: Home, tmp_path: Path) -> None:
    def vistag(*arguments: object) -> str:
        told = CliRunner().invoke(app, ["export", *map(str, arguments), "--home", str(home.root)])
        assert told.exit_code == 0 or "leave out" in told.output
        return told.output

    vistag("lora", "--to", tmp_path / "out", "--set", "trigger=me", "--min-probability", 0.7, "--follow")
    before = content(tmp_path / "out")
    (made,) = export_in_run(home, lambda *_: None)
    assert made["files_written"] == 0
    assert content(tmp_path / "out") == before
    assert "leave out --folder" in vistag("lora", "--folder", FOLDER, "--follow")
    vistag("lora", "--to", tmp_path / "out", "--no-follow")
    assert read_settings(home).exports == {}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"exif": ExportSettings()}, "exif. Known are"),
        ({"csv": ExportSettings(options={"colour": "red"})}, "colour"),
    ],
)
def test_settings_that_no_export_knows_are_told(
    home: Home, asked: dict[str, ExportSettings], said: str
) -> None:
    follow(home, **asked)
    with pytest.raises((ExportError, dg.Failure), match=said):
        export_in_run(home, lambda *_: None)
