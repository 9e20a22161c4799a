"""What a home says of folders that are not there, and where it logs decisions."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from resources.home import FolderRef, Home, Settings, SettingsError, write_settings
from resources.home.settings import DECISIONS_URL


def ref(root: Path, relative: str) -> FolderRef:
    return FolderRef(f"lib--{relative}", "lib", str(root), relative)


def test_a_folder_is_missing_where_its_library_is_there(tmp_path: Path) -> None:
    (tmp_path / "library" / "a").mkdir(parents=True)
    assert not ref(tmp_path / "library", "a").is_missing
    assert ref(tmp_path / "library", "b").is_missing
    (tmp_path / "library" / "file").touch()
    assert ref(tmp_path / "library", "file").is_missing
    assert ref(tmp_path / "library", "file/below").is_missing
    # a disk that is not mounted is missing, or an empty folder
    assert not ref(tmp_path / "unmounted", "a").is_missing
    (tmp_path / "empty").mkdir()
    assert not ref(tmp_path / "empty", "a").is_missing


def test_a_mark_keeps_its_first_time_and_goes_when_the_folder_is_registered(tmp_path: Path) -> None:
    home, folder = Home(tmp_path / "home"), ref(tmp_path, "a")
    home.register(folder)
    (first,) = home.mark_gone(folder)
    assert first.gone_since
    assert home.mark_gone(first) == [first]
    assert home.folders() == [first]
    home.register(folder)
    assert home.folders() == [folder]


def test_decisions_are_in_the_home_unless_settings_or_the_environment_say_where_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DECISIONS_URL, raising=False)
    home = Home(tmp_path)
    assert home.decisions.file == tmp_path / "decisions.sqlite"
    write_settings(home, Settings(decisions="postgresql://ada@db/vistag"))
    assert (home.decisions.file, home.decisions.url.host) == (None, "db")
    monkeypatch.setenv(DECISIONS_URL, "postgresql://ada:secret@other/vistag")
    assert home.decisions.url.host == "other"


@pytest.mark.parametrize(
    ("url", "told"),
    [("postgresql://ada:secret@db/vistag", "VISTAG_DECISIONS_URL"), ("mysql://db/vistag", "leave it out")],
)
def test_settings_hold_no_password_and_no_other_database(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told) as error:
        Settings(decisions=url)
    assert "secret" not in str(error.value)
    (tmp_path / "settings.json").write_text(f'{{"decisions": "{url}"}}')
    with pytest.raises(SettingsError, match=told):
        _ = Home(tmp_path).decisions
