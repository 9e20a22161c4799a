"""The home: keys of folders and the registry that says what they stand for."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resources.home import CorruptRegistration, FolderRef, Home, KeyTaken, UnknownFolder, folder_key

# What a POSIX directory name can be: any bytes but NUL and "/", those that are not UTF-8 as surrogates.
_ANY_NAME = st.binary(min_size=1, max_size=260).map(os.fsdecode)
_TRICKY_NAME = st.text(st.sampled_from("aAÅé\u0301ßſ-._= ,%…0\x01"), min_size=1, max_size=6)
_NAME = st.one_of(st.text(min_size=1, max_size=120), _ANY_NAME, _TRICKY_NAME).filter(
    lambda name: "/" not in name and "\0" not in name and name not in (".", "..")
)
_PATH = st.lists(_NAME, min_size=1, max_size=4)


def _key(parts: list[str]) -> str:
    return folder_key(parts[0], "/".join(parts[1:]) or ".")


@pytest.mark.parametrize(
    ("library", "relative", "key"),
    [
        ("photos", ".", "photos"),
        ("photos", "2024/summer_trip", "photos--2024--summer_trip"),
        ("музей", "вазы/ὑδρία", "музей--вазы--ὑδρία"),
        ("संग्रह", "मूर्ति", "संग्रह--मूर्ति"),
        ("2024", ".", "2024"),
        ("scans", "v1.2", "scans--v1.2"),
    ],
)
def test_plain_names_stay_as_they_are(library: str, relative: str, key: str) -> None:
    assert folder_key(library, relative) == key


@pytest.mark.parametrize(
    ("library", "relative", "readable"),
    [
        ("photos", "Summer Trip", "photos--Summer_Trip-"),
        ("photos", "a=b,c[d]:e|f%", "photos--a_b_c_d__e_f_-"),
        ("photos", "wait...", "photos--wait-"),
        (".hidden", ".", "_.hidden-"),
        ("-rf", ".", "_-rf-"),
        ("photos", os.fsdecode(b"caf\xe9"), "photos--caf_-"),
        ("photos", unicodedata.normalize("NFD", "café"), "photos--café-"),
        ("con", ".", "con-"),
        ("photos-0123abcd", ".", "photos-0123abcd-"),
        ("", ".", "_-"),
    ],
)
def test_other_names_stay_readable_and_get_a_hash(library: str, relative: str, readable: str) -> None:
    key = folder_key(library, relative)
    assert key[:-8] == readable
    assert int(key[-8:], 16) >= 0


@given(_PATH, _PATH)
@example(["a--b"], ["a", "b"])
@example(["a-", "b"], ["a", "-b"])
@example(["A"], ["a"])
@example(["ß"], ["ss"])
@example(["é"], ["e\u0301"])
@example(["x" * 150], ["x" * 151])
@example(["a b"], ["a_b"])
def test_different_folders_have_different_keys_even_when_case_is_ignored(a: list[str], b: list[str]) -> None:
    same_key = _key(a).casefold() == _key(b).casefold()
    assert same_key == (a == b)


@given(_PATH)
def test_no_key_can_pass_for_the_key_of_another_folder(path: list[str]) -> None:
    key = _key(path)
    if key != "--".join(path):
        assert folder_key(key, ".") != key


@given(_PATH)
@example(["\u0338a"])
@example(["漢" * 200])
def test_keys_are_safe_for_dagster_hive_and_file_systems(path: list[str]) -> None:
    key = _key(path)
    assert 0 < len(key) <= 100
    assert len(key.encode("utf-8")) <= 200
    assert all(c in "-_." or unicodedata.category(c)[0] in "LMN" for c in key)
    assert ".." not in key
    assert unicodedata.category(key[0])[0] in "LN" or key[0] == "_"
    assert not key.endswith(".")
    assert unicodedata.is_normalized("NFC", f"folder={key}")


@pytest.mark.parametrize("relative", ["/etc", "../other", "a/../../b"])
def test_a_path_that_leaves_the_library_has_no_key(relative: str) -> None:
    with pytest.raises(ValueError, match="not a path inside the library 'photos'"):
        folder_key("photos", relative)


def _ref(root: Path, relative: str = ".", library: str = "photos") -> FolderRef:
    return FolderRef(folder_key(library, relative), library, str(root), relative)


def test_registered_folders_come_back_sorted(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    not_utf8 = _ref(tmp_path, os.fsdecode(b"caf\xe9 \xff"))
    refs = [_ref(tmp_path, "z"), not_utf8, _ref(tmp_path), _ref(tmp_path, "日本/陶器\nline")]
    for ref in refs:
        home.register(ref)

    assert home.folders() == sorted(refs, key=lambda ref: ref.key)
    assert home.folder(not_utf8.key) == not_utf8
    assert home.folder(not_utf8.key).directory == tmp_path / os.fsdecode(b"caf\xe9 \xff")
    assert Home(tmp_path / "other").folders() == []


def test_a_forgotten_folder_is_unknown(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.register(_ref(tmp_path))
    home.forget("photos")

    assert home.folders() == []
    with pytest.raises(UnknownFolder, match=r"'photos' is registered in .*folders"):
        home.folder("photos")
    with pytest.raises(UnknownFolder):
        home.forget("photos")
    with pytest.raises(UnknownFolder, match="cannot be the key"):
        home.folder("../ground_truth")


def test_a_library_that_moved_is_registered_at_its_new_root(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    home.register(_ref(old))
    home.register(_ref(old))
    old.rename(new)
    home.register(_ref(new))
    assert home.folder("photos") == _ref(new)


def test_two_existing_folders_cannot_share_a_key(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.register(_ref(tmp_path))
    (tmp_path / "b").mkdir()
    with pytest.raises(KeyTaken, match="give the library another name"):
        home.register(_ref(tmp_path / "b"))
    with pytest.raises(KeyTaken):
        home.register(FolderRef("photos", "photos", str(tmp_path), "elsewhere"))
    assert home.folder("photos") == _ref(tmp_path)


def test_a_damaged_registration_names_its_file(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.register(_ref(tmp_path))
    for content in ("{", '{"key": "photos"}'):
        (tmp_path / "folders" / "photos.json").write_text(content)
        with pytest.raises(CorruptRegistration, match=r"photos\.json does not describe a folder"):
            home.folders()


def test_the_home_is_the_option_then_the_variable_then_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISTAG_HOME", raising=False)
    assert Home.resolve() == Home(tmp_path / ".vistag")
    monkeypatch.setenv("VISTAG_HOME", "from_variable")
    assert Home.resolve(None) == Home(tmp_path / "from_variable")
    assert Home.resolve(Path("option")) == Home(tmp_path / "option")
    assert list(tmp_path.iterdir()) == []
