"""What models that cannot do every task are asked, and what is made of their answers."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from language_home import KEY, KNOWN, PICTURES, run, workspace_with
from tiny_captioners import save_tiny_blip, save_tiny_donut, save_tiny_florence2
from tiny_chat_models import save_tiny_joycaption

from resources.models.registry import registry
from resources.models.tiers import TierError, load_tier
from resources.models.vlms import VlmSpec
from resources.models.vlms.prompts import CAPTION, DESCRIPTION, TAGS
from resources.models.vlms.tasks import TASKS, Question
from resources.workspace import VistagResource, Workspace
from taxonomy import starter_taxonomy
from vistag_assets.language.describing import describe
from vistag_assets.language.descriptions import descriptions
from vistag_assets.language.region_captions import region_captions
from vistag_assets.partitions import FOLDERS
from vistag_assets.tags.tagger import sources_of
from vistag_assets.whole_image.captions import captions

DOCS = (Path(__file__).parents[4] / "docs" / "vlms.md").read_text(encoding="utf-8")


def spec(family: str, **prompts: str) -> VlmSpec:
    return VlmSpec.model_validate({"model": "m", "licence": "own", "family": family, "prompts": prompts})


def test_every_family_can_caption_and_is_told_of_with_its_modes() -> None:
    for family in registry().families:
        if family.role == "vlm":
            engine = "openai" if family.served_by else "transformers"
            given = {"model": "/m", "licence": "own", "remote_code": family.remote_code, "engine": engine}
            assert VlmSpec.model_validate(given | {"family": family.name}).caption_question
            assert set(family.tasks or TASKS) <= set(TASKS)
            assert f"`{family.name}`" in DOCS
            assert all(f"`{mode}`" in DOCS for mode in family.modes)


def test_a_chat_model_is_asked_what_vistag_asks_and_told_what_is_known() -> None:
    question = spec("chat").question("description")
    assert question == Question(DESCRIPTION, free=True)
    assert question.about(["EXIT"], [("r1", "bowl")]).endswith(
        "\nText in the picture: EXIT\nRegions: r1 bowl"
    )


def test_a_mode_and_a_task_token_are_asked_word_for_word() -> None:
    mode = spec("joycaption", tags="danbooru").question("tags")
    assert mode is not None
    assert mode.prompt.startswith("Generate only comma-separated Danbooru tags")
    assert mode.about(["EXIT"]) == mode.prompt
    assert spec("joycaption").question("tags") == Question(TAGS, free=True)
    own = spec("joycaption", caption="Name the thing.").question("caption")
    assert own == Question("Name the thing.", free=True)
    assert spec("florence-2", caption="detailed").caption_question == Question(
        "<DETAILED_CAPTION>", free=False
    )
    assert spec("florence-2").question("tags") is None


@pytest.mark.parametrize(
    ("family", "prompt"), [("florence-2", "Name the thing."), ("joycaption", "danboru"), ("blip", "detailed")]
)
def test_words_that_a_family_does_not_know_are_an_error_that_lists_its_modes(
    tmp_path: Path, family: str, prompt: str
) -> None:
    vlm = {"model": "m", "licence": "own", "family": family, "prompts": {"caption": prompt}}
    tier = {
        "description": "d",
        "device": "cpu",
        "encoder": load_tier("demo").encoder.model_dump(),
        "vlm": vlm,
    }
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(tier))
    with pytest.raises(
        TierError, match=rf"mine.yaml:\n  line 1: vlm: prompts.caption: .* of the family {family}; its modes"
    ):
        load_tier(str(path))


PROSE = "This image shows a bowl on the left. Beside it stands a chair. Light falls from the"


def test_sentences_of_prose_are_claims_and_a_cut_one_goes() -> None:
    told = describe(
        PROSE, form="prose", finished=False, known=KNOWN, taxonomy=starter_taxonomy(), words=(5, 40)
    )
    assert [claim.text for claim in told.claims] == ["A bowl on the left.", "Beside it stands a chair."]
    assert (told.valid, told.problems) == (None, ("cut", "prose"))
    assert told.claims[0].region_ids
    assert told.json is not None


def test_prose_that_says_nothing_falls_back_on_the_caption() -> None:
    told = describe("", form="prose", finished=True, known=KNOWN, taxonomy=starter_taxonomy(), words=(1, 40))
    assert (told.description, told.valid, told.problems) == (KNOWN.caption, None, ("from_caption",))


def rows(workspace: Workspace, table: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = workspace.lake.read(table, KEY).to_pylist()
    return found


def test_blip_captions_images_and_regions_and_is_asked_nothing_else(tmp_path: Path) -> None:
    checkpoint = save_tiny_blip(tmp_path / "blip")
    workspace = workspace_with(tmp_path, model=str(checkpoint), family="blip")
    assert run(workspace) == [PICTURES] * 3
    captions = {row["id"]: row for row in rows(workspace, "captions")}
    assert all(row["keywords"] == [] and row["prompt"] == "" and row["caption"] for row in captions.values())
    assert len(rows(workspace, "region_captions")) == 3 * (PICTURES - 1)
    for row in rows(workspace, "descriptions"):
        assert row["valid"] is None
        assert "from_caption" in row["problems"]  # type: ignore[operator]
        assert row["caption"] == captions[row["id"]]["caption"]


def test_florence2_describes_in_prose(tmp_path: Path) -> None:
    checkpoint = save_tiny_florence2(tmp_path / "florence2")
    workspace = workspace_with(tmp_path, model=str(checkpoint), family="florence-2")
    run(workspace)
    assert {row["valid"] for row in rows(workspace, "descriptions")} == {None}
    prompt = workspace.vlm.spec.question("description")
    assert prompt == Question("<MORE_DETAILED_CAPTION>", free=False)


def test_a_model_without_region_captions_is_no_source_of_them_and_the_asset_says_why(tmp_path: Path) -> None:
    checkpoint = save_tiny_donut(tmp_path / "donut")
    workspace = workspace_with(tmp_path, model=str(checkpoint), family="donut")
    detector = load_tier("demo").detector
    assert "region_captions" not in sources_of(workspace.tier.model_copy(update={"detector": detector}))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [KEY])
        result = dg.materialize(
            [captions, region_captions, descriptions],
            partition_key=KEY,
            instance=instance,
            resources={"vistag": VistagResource(home=str(workspace.home.root))},
        )
    said = {
        event.asset_key.path[0]: str(event.materialization.metadata["skipped"].value)
        for event in result.get_asset_materialization_events()
        if "skipped" in event.materialization.metadata
    }
    assert said["captions"].startswith(
        "donut (family donut) has no way to ask for tags: keywords are left out"
    )
    assert "regions have no captions" in said["region_captions"]
    assert "of the captions alone" in said["descriptions"]
    assert rows(workspace, "region_captions") == []


def test_rows_are_made_again_when_the_tier_asks_in_another_mode(tmp_path: Path) -> None:
    checkpoint = save_tiny_joycaption(tmp_path / "joycaption")
    joycaption = {"model": str(checkpoint), "family": "joycaption"}
    workspace = workspace_with(tmp_path, **joycaption)
    assert run(workspace) == [PICTURES] * 3
    assert rows(workspace, "captions")[0]["prompt"] == CAPTION
    asked = json.loads((tmp_path / "tiny.yaml").read_text())
    asked["vlm"]["prompts"] = {"description": "descriptive"}
    (tmp_path / "tiny.yaml").write_text(json.dumps(asked))
    other = Workspace(workspace.home, workspace.settings, load_tier(str(tmp_path / "tiny.yaml")))
    assert run(other) == [0, 0, PICTURES]
    asked["vlm"]["prompts"] |= {"tags": "danbooru"}
    (tmp_path / "tiny.yaml").write_text(json.dumps(asked))
    other = Workspace(workspace.home, workspace.settings, load_tier(str(tmp_path / "tiny.yaml")))
    assert run(other)[:2] == [PICTURES, 0]
