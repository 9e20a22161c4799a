"""`vistag verify` tells a home that was left half done from one that is finished."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from resources.home import FolderRef, Home, read_settings, write_settings
from vistag_assets.automation.unfinished import unfinished
from vistag_assets.cli import app


def verify(home: Home, *arguments: str) -> str:
    ended = CliRunner().invoke(app, ["verify", *arguments, "--home", str(home.root)])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_a_finished_home_has_nothing_left(tagged_home: Home) -> None:
    assert unfinished(tagged_home) == []
    assert verify(tagged_home).endswith("nothing is wrong.\n")


def test_tables_that_a_run_did_not_come_to_are_named_with_the_command(
    tagged_home: Home, tagged_once: Path
) -> None:
    for folder in ("lib--a", "lib--b"):
        tagged_home.lake.delete("tags", folder)
    tagged_home.lake.delete("routing", "lib--b")
    again = shlex.join(
        ["vistag", "run", str(tagged_once / "library"), "--library", "lib", "--home", str(tagged_home.root)]
    )
    assert {line for line in verify(tagged_home).splitlines() if line.startswith("not finished")} == {
        f"not finished: lib--a has no tags yet: {again}",
        f"not finished: lib--b has no routing, tags yet: {again}",
    }
    assert verify(tagged_home).endswith("nothing is wrong, but not finished.\n")
    told = json.loads(verify(tagged_home, "--json"))
    assert [(left["folders"], left["tables"]) for left in told["unfinished"]] == [
        (["lib--a"], ["tags"]),
        (["lib--b"], ["routing", "tags"]),
    ]


def test_a_folder_that_no_run_has_come_to_lacks_everything(tmp_path: Path, tagged_home: Home) -> None:
    (tmp_path / "more" / "new").mkdir(parents=True)
    tagged_home.register(FolderRef("more--new", "more", str(tmp_path / "more"), "new"))
    (left,) = unfinished(tagged_home)
    assert left.folders == ("more--new",)
    assert left.tables[:3] == ("images", "rejects", "proxies")
    assert left.tables[-1] == "tags"
    assert left.command.startswith(f"vistag run {tmp_path / 'more'} --home ")


def test_a_home_whose_first_run_was_stopped_at_once_is_not_finished(
    tmp_path: Path, tagged_home: Home
) -> None:
    shutil.rmtree(tagged_home.lake.root)
    assert "not finished: lib--a, lib--b have no images, rejects, proxies, " in verify(tagged_home)


def test_what_is_gone_is_not_waited_for(tagged_home: Home) -> None:
    tagged_home.lake.delete("tags", "lib--a")
    tagged_home.mark_gone(tagged_home.folder("lib--a"))
    assert unfinished(tagged_home) == []


def test_a_run_that_is_at_work_is_told(tagged_home: Home) -> None:
    tagged_home.lake.delete("tags", "lib--a")
    with tagged_home.working_on(["lib--a"]):
        (left,) = unfinished(tagged_home)
    assert left.sentence == "not finished: lib--a has no tags yet; a run is at work there."


def test_many_folders_are_counted(tmp_path: Path, tagged_home: Home) -> None:
    (tmp_path / "more").mkdir()
    refs = [FolderRef(f"more--{n}", "more", str(tmp_path / "more"), f"{n}") for n in range(8)]
    for ref in refs:
        ref.directory.mkdir()
    tagged_home.register(*refs)
    (left,) = unfinished(tagged_home)
    assert "more--4 and 3 more have no images" in left.sentence


def test_a_tier_that_is_away_does_not_hold_up_the_rest(tagged_home: Home) -> None:
    write_settings(tagged_home, read_settings(tagged_home).model_copy(update={"tier": "/nowhere/my.yaml"}))
    told = verify(tagged_home)
    assert "whether all runs are finished is not known" in told
    assert "There is no file /nowhere/my.yaml: there is no folder /nowhere" in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("gpu-24g", "There is no tier 'gpu-24g'; did you mean \"gpu-24gb\"? Known tiers: "),
        ("huge", "There is no tier 'huge'. Known tiers: "),
        ("{}/my-teir.yaml", '/my-teir.yaml; did you mean "my-tier.yaml"?'),
        ("{}/zzz.yml", "/zzz.yml. Beside it: my-tier.yaml"),
        ("{}/deep/other.yaml", "/deep/other.yaml: there is no folder {}/deep"),
        ("{}/empty/other.yaml", "/empty/other.yaml. Beside it: no .yaml file"),
        ("{}/empty", "{}/empty is a folder, not a tier"),
        ("{}/notes.txt", "{}/notes.txt is no tier: the name of its file has to end in .yaml"),
    ],
)
def test_a_tier_that_is_not_there_is_told_with_what_is_near(tmp_path: Path, given: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "my-tier.yaml").touch()
    (tmp_path / "notes.txt").touch()
    place = str(tmp_path)
    ended = CliRunner().invoke(
        app, ["doctor", "--tier", given.format(place), "--home", str(tmp_path / "home")]
    )
    assert ended.exit_code == 1
    assert told.format(place) in ended.stderr
