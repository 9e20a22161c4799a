"""What a home holds is readable by the account that keeps it, and by no other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_library import tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home.private import make_private, outer_umask, private_files, public_files
from vistag_assets.automation.instance import home_instance
from vistag_assets.cli import app

USUAL_UMASK = 0o022


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(USUAL_UMASK)
    yield
    assert os.umask(before) == USUAL_UMASK, "a command leaves it as it was"


def open_to_others(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in (root, *root.rglob("*"))
        if not path.is_symlink() and path.stat().st_mode & 0o077
    }


def vistag(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.slow
def test_a_run_leaves_nothing_that_others_can_read(tmp_path: Path) -> None:
    made = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    made.root.chmod(0o755)  # as an older vistag left it
    assert open_to_others(made.root)
    told = vistag("run", tmp_path / "library", "--home", made.root)
    assert f"{made.root} could be read by other accounts of this machine: now by yours alone." in told
    assert {"lake", "proxies", "dagster", "reports"} <= {path.name for path in made.root.iterdir()}
    assert open_to_others(made.root) == set()
    assert "other accounts" not in vistag("watch", "--settle", 1, "--home", made.root)

    page = tmp_path / "tags.csv"
    vistag("sql", f"copy tags to '{page}'", "--home", made.root)
    assert stat.S_IMODE(page.stat().st_mode) == 0o644  # outside: as its reader has it


def test_dagster_writes_for_nobody_else_without_a_command_too(tmp_path: Path) -> None:
    with home_instance(tmp_path / "home") as instance:
        instance.add_dynamic_partitions("folder", ["a"])
    assert open_to_others(tmp_path / "home") == set()
    assert "VISTAG_OUTER_UMASK" not in os.environ


def test_what_a_person_put_into_a_home_stays_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    outside = tmp_path / "outside.txt"
    for path in (
        home / "lake" / "tags" / "data.parquet",
        home / "decisions.sqlite-wal",
        home / "notes" / "a.txt",
        outside,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (home / "lake" / "link").symlink_to(outside)
    (sentence,) = make_private(home)
    assert "now by yours alone" in sentence
    assert open_to_others(home) == {"notes", "notes/a.txt"}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert make_private(home) == []
    assert make_private(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("/dev/a / ext4 rw 0 0\nserver:/x {home} nfs4 rw 0 0", "nfs4"),
        ("/dev/a / ext4 rw 0 0\n//server/x {parent} cifs rw 0 0", "cifs"),
        ("/dev/a / ext4 rw 0 0\nme@h:/ {parent} fuse.sshfs rw 0 0", "fuse.sshfs"),
        ("host / 9p rw 0 0", "9p"),
        ("server:/x / nfs rw 0 0\n/dev/a {parent} xfs rw 0 0", None),
        ("server:/x {home}-other nfs rw 0 0\n/dev/a / btrfs rw 0 0", None),
        ("server:/x {home} nfs rw 0 0\n/dev/a {home} ext4 rw 0 0", None),
    ],
)
def test_a_home_on_a_shared_mount_is_told(tmp_path: Path, mounts: str, kind: str | None) -> None:
    home = tmp_path / "my home"
    home.mkdir(mode=0o700)
    table = tmp_path / "mounts"
    escaped = {"home": str(home).replace(" ", r"\040"), "parent": str(tmp_path)}
    table.write_text(mounts.format(**escaped) + "\n")
    told = make_private(home, table)
    assert [f"a mount of the kind {kind}:" in sentence for sentence in told] == ([True] if kind else [])


def test_what_is_made_outside_of_a_home_is_made_as_before(tmp_path: Path) -> None:
    with private_files(tmp_path / "home"), private_files(tmp_path / "home"):
        (tmp_path / "inside").touch()
        assert outer_umask() == USUAL_UMASK
        with public_files():
            (tmp_path / "weights").touch()
        (tmp_path / "after").touch()
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("inside", "weights", "after")}
    assert modes == {"inside": 0o600, "weights": 0o644, "after": 0o600}
