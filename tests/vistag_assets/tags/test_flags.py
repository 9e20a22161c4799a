"""Flags by policy: which rules hold of an image and why, policies with mistakes, filters of pages, search and exports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from exporting import content, export
from hand_made_lake import FOLDER, IDS, make_home

from resources.home import Home, read_settings, write_settings
from resources.workspace import open_workspace
from taxonomy import starter_taxonomy
from vistag_assets.app.catalogue import Catalogue, Wanted
from vistag_assets.exports.records import Selection
from vistag_assets.folder_asset import update_table
from vistag_assets.gallery import cards_of
from vistag_assets.search.filters import Filter, Filters
from vistag_assets.search.question import Query
from vistag_assets.tags.flag_policy import PolicyError, read_policy
from vistag_assets.tags.flagging import Seen, flags_of

A, B, C = IDS
POLICY = """\
rules:
  - name: vessels
    reason: Ask the keeper of ceramics.
    concept: vessel
    min_probability: 0.7
  - name: signs
    words: ["gallery *", exit]
    where: picture
  - name: boxed vase
    found: [vase]
    min_score: 0.5
"""


def policy_file(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def rules_of(seen: Seen, folder: Path, text: str) -> list[str]:
    return [flag.rule for flag in flags_of(seen, read_policy(policy_file(folder, text), starter_taxonomy()))]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path / "home")
    settings = read_settings(made).model_copy(update={"flags": str(policy_file(tmp_path, POLICY))})
    write_settings(made, settings)
    update_table("flags", open_workspace(made), FOLDER)
    return made


def test_a_flag_says_which_rule_why_and_where(home: Home) -> None:
    rows = home.lake.read("flags", FOLDER).to_pylist()
    assert [(row["id"], row["rule"]) for row in rows] == [(A, "vessels"), (A, "signs"), (A, "boxed vase")]
    vessels, signs, boxed = rows
    assert vessels["reason"] == "Ask the keeper of ceramics."
    assert vessels["because"] == ["bowl, said by a person", "vase 0.80"]  # a tag of 0.6 is below the rule's
    assert vessels["region_ids"] == [f"{A[:12]}-r1", f"{A[:12]}-r2"]
    assert vessels["bbox"] == pytest.approx([0.1, 0.2, 0.2, 0.2])
    assert signs["because"] == ["“gallery 5” in the picture"]
    assert signs["bbox"] == pytest.approx([0.5, 0.66, 0.25, 0.1])
    assert boxed["because"] == ["vase found, 0.80"]


def test_only_what_changed_is_looked_at_again(home: Home) -> None:
    workspace = open_workspace(home)
    assert update_table("flags", workspace, FOLDER).computed == 0
    path = Path(read_settings(home).flags or "")
    path.write_text(POLICY.replace("0.7", "0.5"))
    assert update_table("flags", open_workspace(home), FOLDER).computed == 3
    assert {row["id"] for row in home.lake.read("flags", FOLDER).to_pylist()} == {A, B}


def test_without_a_policy_nothing_is_done(home: Home) -> None:
    write_settings(home, read_settings(home).model_copy(update={"flags": None}))
    assert update_table("flags", open_workspace(home), FOLDER).computed == 0


def test_all_conditions_of_a_rule_have_to_hold(tmp_path: Path) -> None:
    both = "rules: [{name: r, unfamiliar: true, keyword: 'embargo*'}]"
    assert rules_of(Seen(keywords=["Embargoed until May"], unfamiliar="a drawing"), tmp_path, both) == ["r"]
    assert rules_of(Seen(keywords=["Embargoed until May"]), tmp_path, both) == []
    assert rules_of(Seen(keywords=["no embargo"], unfamiliar="a drawing"), tmp_path, both) == []


@pytest.mark.parametrize(
    ("word", "text", "holds"),
    [
        ("pass", "a passport", False),
        ("pass*", "A PASSPORT.", True),
        ("*port", "passport", True),
        ("top secret", "TOP\n SECRET", True),
        ("a.b", "axb", False),
        ("straße", "STRASSE 5", True),
        ("秘密", "这是秘密文件", True),
        ("ลับ", "เอกสารลับมาก", True),
        ("тайна", "Тайна!", True),
        ("(c)", "photo (c) 2020", True),
    ],
)
def test_words_are_found_whole_in_scripts_that_part_them(
    tmp_path: Path, word: str, text: str, holds: bool
) -> None:
    seen = Seen(caption=text)
    assert bool(rules_of(seen, tmp_path, f"rules: [{{name: r, words: ['{word}']}}]")) == holds


def test_a_box_of_what_a_person_rejected_flags_nothing(tmp_path: Path) -> None:
    box = {"region_id": "r1", "concept_id": "vase", "phrase": "vase", "score": 0.9, "bbox": [0, 0, 1, 1]}
    no = {"concept_id": "vase", "phrase": "vase", "state": "rejected", "probability": 0.9, "region_ids": []}
    rule = "rules: [{name: r, found: vase}]"
    assert rules_of(Seen(grounded_regions=[box]), tmp_path, rule) == ["r"]
    assert rules_of(Seen(grounded_regions=[box], tags=[no]), tmp_path, rule) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n  - name: a\n", "line 2: rules.0: give a condition"),
        ("rules:\n  - name: a\n    concept: vasee\n", "line 3: 'vasee' is no concept of the vocabulary"),
        ("rules:\n  - name: a\n    words: x\n    colour: red\n", "line 4: rules.0.colour: unknown field; known: name"),
        ("rules:\n  - name: a\n    concept: vase\n    min_probability: 7\n", "line 4: rules.0.min_probability"),
        ("rules:\n  - {name: a, words: x}\n  - {name: a, words: y}\n", "line 3: the rule 'a' stands on line 2 too"),
        ("rules:\n  - name: a\n    words: ['*']\n", "line 3: rules.0.words.0: '*' holds no letter and no digit"),
        ("rules:\n  - name: a\n    words: 'a*b*c*d'\n", "line 3: rules.0.words.0: 'a*b*c*d' holds more than 2 *"),
        ("rules:\n  - name: a\n    words: x\n    where: [ocr]\n", "line 4: rules.0.where.0"),
        ("rules: []\n", "line 1: rules"),
        ("- a\n", "expected `rules:`"),
        ("rules: [\n", "line"),
    ],
)  # fmt: skip
def test_a_policy_with_a_mistake_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = policy_file(tmp_path, text)
    with pytest.raises(PolicyError) as error:
        read_policy(path, starter_taxonomy())
    assert str(error.value).startswith(str(path))
    assert told in str(error.value)


def test_pages_search_and_exports_can_be_asked_for_them(home: Home, tmp_path: Path) -> None:
    workspace = open_workspace(home)
    catalogue = Catalogue(workspace)
    assert catalogue.flags() == [("boxed vase", 1), ("signs", 1), ("vessels", 1)]
    for flag in ("any", "signs"):
        assert [picture.id for picture in catalogue.page(1, Wanted(flag=flag)).pictures] == [A]
    assert catalogue.page(1, Wanted(flag="no such rule")).images == 0

    rows = {
        table: home.lake.read(table, FOLDER).to_pylist()
        for table in ("images", "proxies", "tags", "flags", "grounded_regions")
    }
    assert [[flag.rule for flag in card.flags] for card in cards_of(rows, workspace.taxonomy)] == [
        ["vessels", "signs", "boxed vase"], [], [],
    ]  # fmt: skip

    asked = Filter.of(Query(flags=("signs",), not_flags=("it's",)), workspace.taxonomy)
    assert asked.having == (("flags", "rule = 'signs'"),)
    assert asked.lacking == (("flags", "rule = 'it''s'"),)
    found = Filters(workspace)._asked(*asked.having[0], "")
    assert len(found) == 1

    for flagged, images in (("with", 3), ("without", 2), ("only", 1)):
        to = tmp_path / flagged
        outcome = export(home, "csv", to, selection=Selection(flagged=flagged))  # type: ignore[arg-type]
        assert outcome.images == images
        names = b"".join(content(to).values())
        assert (b"1.jpg" in names) == (flagged != "without")
        shutil.rmtree(to)
