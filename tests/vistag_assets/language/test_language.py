"""Captions, region captions and descriptions: the pure parts against examples and properties, the stages on a lake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from language_home import BOWL, KEY, KNOWN, PICTURES, run, workspace_with
from PIL import Image
from tiny_vlm import save_tiny_llava

from resources.boxes import iou
from resources.lake import with_empty_ids
from resources.models.vlms import Answer
from resources.models.vlms.chat import ChatVlm
from resources.models.vlms.description import SCHEMA_FILE, Description, description_schema, parse_description
from resources.models.vlms.prompts import CAPTION, with_text
from resources.previews import preview_page
from resources.tables import CAPTIONS, DESCRIPTIONS
from resources.workspace import Workspace, open_workspace
from taxonomy import starter_taxonomy
from vistag_assets.language.describing import CheckedClaim, Known, describe
from vistag_assets.language.descriptions import (
    descriptions,
    descriptions_cite_their_own_regions,
    descriptions_fit_the_schema,
)
from vistag_assets.language.region_captions import MIN_CROP_PX, crop, region_captions
from vistag_assets.language.repair import adds_no_fact, salvaged, tidied
from vistag_assets.regions.boxes import Region, cited_regions, distinct_boxes
from vistag_assets.whole_image.caption_form import caption_problems, keywords, sentences, without_opener
from vistag_assets.whole_image.captions import captions as captions_asset
from vistag_assets.whole_image.captions import captions_are_one_sentence, parsed_keywords
from vistag_assets.whole_image.quotes import requoted

TAXONOMY = starter_taxonomy()
LABELS = TAXONOMY.labels


# ---- phrases and concepts


def test_keywords_are_split_stripped_and_told_once() -> None:
    text = " bowl, Terracotta ; bowl,\n- stone plinth.\n2) BOWL, , soft light"
    assert [phrase.text for phrase in keywords(text)] == ["bowl", "Terracotta", "stone plinth", "soft light"]
    assert all(text[phrase.start : phrase.end] == phrase.text for phrase in keywords(text))


def test_a_keyword_is_as_probable_as_its_own_tokens() -> None:
    tokens = (" bo", "wls", ",", " oak", " chest", ", so")
    answer = Answer(
        "bowls, oak chest, so",
        tokens,
        np.array([-1, -3, -9, -2, -4, -7], np.float32),
        np.ones(6, np.float32),
        finished=False,
    )
    assert parsed_keywords(answer, LABELS) == [
        {"phrase": "bowls", "concept_id": "bowl", "logprob": -2.0},
        {"phrase": "oak chest", "concept_id": None, "logprob": -3.0},
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("A terracotta bowl stands on a stone plinth.", []),
        ("A photograph album lies on a shelf.", []),
        ("A picture frame of oak.", []),
        ("A bowl of c. 1900 by J. Smith, inv. no. 4.", []),
        ("", ["empty"]),
        (" ... ", ["empty"]),
        ("This image shows a bowl.", ["forbidden_opener"]),
        ("The picture depicts two chairs.", ["forbidden_opener"]),
        ("a photo of a boot", ["forbidden_opener"]),
        ("In this photograph, a boot.", ["forbidden_opener"]),
        ("A black-and-white photograph of a boot.", ["forbidden_opener"]),
        ("This is a boot.", ["forbidden_opener"]),
        ("A bowl. It is red.", ["several_sentences"]),
    ],
)
def test_what_is_wrong_with_a_caption_is_said(text: str, problems: list[str]) -> None:
    assert caption_problems(text, finished=True) == problems
    assert ("cut" in caption_problems(text, finished=False)) is True


def test_an_opener_goes_and_the_rest_stays() -> None:
    assert without_opener("This image shows a red bowl.") == "A red bowl."
    assert without_opener("A red bowl.") == "A red bowl."
    assert sentences("A bowl (c. 1900). It is red! So?") == ["A bowl (c. 1900).", "It is red!", "So?"]


# ---- regions


def region(number: int, phrase: str, box: tuple[float, float, float, float], score: float) -> Region:
    concept = LABELS.concept_of(phrase)
    return Region(f"{'a' * 12}-r{number}", phrase, concept, box, score)


def test_regions_of_one_place_are_one_and_it_is_called_by_its_object() -> None:
    regions = [
        region(1, "terracotta", (0.5, 0.1, 0.4, 0.4), 0.9),
        region(2, "bowl", (0.5, 0.1, 0.4, 0.41), 0.8),
        region(3, "chair", (0.1, 0.1, 0.2, 0.4), 0.7),
    ]
    assert [[r.region_id[-2:] for r in group] for group in distinct_boxes(regions)] == [["r1", "r2"], ["r3"]]
    cited = cited_regions(regions, TAXONOMY)
    assert {short: r.phrase for short, r in cited.items()} == {"r1": "chair", "r2": "bowl"}


def test_at_most_eight_places_are_cited_and_the_best() -> None:
    regions = [region(n, "bowl", (n / 20, 0.0, 0.04, 0.04), 1 - n / 20) for n in range(1, 13)]
    assert {r.region_id[12:] for r in cited_regions(regions, TAXONOMY).values()} == {
        f"-r{n}" for n in range(1, 9)
    }


boxes = st.tuples(*[st.floats(0, 1) for _ in range(4)])


sides = st.just(0.0) | st.floats(1e-6, 1)
# of thinner ones more than all may be shared, by rounding: `paired_iou` says so
thick_boxes = st.tuples(st.floats(0, 1), st.floats(0, 1), sides, sides)


@given(thick_boxes, thick_boxes)
def test_iou_is_symmetric_and_bounded(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    assert iou([first], [second]) == pytest.approx(iou([second], [first]).T)
    assert 0 <= iou([first], [second])[0, 0] <= 1 + 1e-9


@given(boxes, st.integers(1, 60), st.integers(1, 60))
def test_a_crop_lies_in_the_image_and_is_no_smaller_than_it_has_to_be(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    pixels = np.arange(height * width, dtype=np.int32).reshape(height, width)
    cropped = crop(Image.fromarray(pixels), box)
    assert cropped.width >= min(width, MIN_CROP_PX)
    assert cropped.height >= min(height, MIN_CROP_PX)
    assert np.isin(np.asarray(cropped)[1:], pixels[1:]).all()  # nothing of what is outside, which is 0


def test_a_crop_shows_its_box() -> None:
    image = Image.new("RGB", (200, 100))
    image.paste((255, 0, 0), (50, 20, 150, 80))
    red = crop(image, (0.25, 0.2, 0.5, 0.6))
    assert red.size == (100, 60)
    assert red.getextrema() == ((255, 255), (0, 0), (0, 0))


# ---- the schema and the repair of form

ANSWER = {
    "title": "Terracotta bowl and oak chair",
    "claims": [
        {"aspect": "subject", "text": "A terracotta bowl stands on the left.", "regions": ["r1"]},
        {"aspect": "subject", "text": "An oak chair, perhaps old, stands on the right.", "regions": ["r7"]},
        {"aspect": "lighting", "text": "Soft light falls evenly.", "regions": []},
        {"aspect": "composition", "text": "A sword lies in front.", "regions": []},
    ],
    "tags": ["bowl", "chair"],
}
WORDS = (5, 40)


def test_the_schema_file_is_the_schema_of_what_is_checked() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Description.model_json_schema(),
    }
    assert description_schema()["additionalProperties"] is False


def test_a_valid_answer_is_kept_and_its_claims_are_checked() -> None:
    told = describe(json.dumps(ANSWER), finished=True, known=KNOWN, taxonomy=TAXONOMY, words=WORDS)
    assert (told.valid, told.problems) == (True, ())
    assert [claim.region_ids for claim in told.claims] == [(BOWL.region_id,), (), (), ()]
    assert [claim.flags for claim in told.claims] == [
        (),
        ("uncited", "unknown_region", "speculation"),
        (),
        ("unsupported:sword",),
    ]
    assert told.description == " ".join(str(claim["text"]) for claim in ANSWER["claims"])
    assert told.words == 25
    stored = parse_description(told.json or "")
    assert stored is not None
    assert stored.claims[0].regions == [BOWL.region_id]


@pytest.mark.parametrize(
    "change",
    [
        {"title": 3},
        {"extra": 1},
        {"claims": []},
        {"claims": [{"aspect": "mood", "text": "x", "regions": []}]},
        {"claims": [{"aspect": "subject", "text": "x"}]},
        {"claims": [{"aspect": "subject", "text": "x", "regions": ["bowl"]}]},
        {"tags": [""]},
    ],
)
def test_an_answer_of_another_form_is_not_valid(change: dict[str, object]) -> None:
    assert parse_description(json.dumps(ANSWER | change)) is None


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(ANSWER).replace("]}]", "],}, ]").replace('"chair"]', '"chair",]'),
        f"```json\n{json.dumps(ANSWER)}\n```",
        f"Here it is: {json.dumps(ANSWER | {'mood': 'calm'})} I hope it helps.",
    ],
)
def test_form_is_mended_and_all_is_kept(answer: str) -> None:
    told = describe(answer, finished=True, known=KNOWN, taxonomy=TAXONOMY, words=WORDS)
    assert (told.valid, told.problems) == (False, ("repaired",))
    assert told.title == ANSWER["title"]
    assert len(told.claims) == 4
    assert told.tags == ("bowl", "chair")


def test_cut_json_keeps_its_whole_claims() -> None:
    whole = json.dumps(ANSWER)
    cut = whole[: whole.index("falls evenly")]
    told = describe(cut, finished=False, known=KNOWN, taxonomy=TAXONOMY, words=WORDS)
    assert (told.valid, told.problems) == (False, ("cut", "repaired"))
    assert [claim.text for claim in told.claims] == [c["text"] for c in ANSWER["claims"][:2]]  # type: ignore[index]


def test_a_long_description_loses_whole_claims_and_keeps_each_aspect_as_long_as_it_can() -> None:
    told = describe(json.dumps(ANSWER), finished=True, known=KNOWN, taxonomy=TAXONOMY, words=(5, 16))
    assert [claim.aspect for claim in told.claims] == ["subject", "lighting", "composition"]
    assert told.problems == ("repaired",)
    short = describe(json.dumps(ANSWER), finished=True, known=KNOWN, taxonomy=TAXONOMY, words=(60, 120))
    assert short.problems == ("words",)


def test_openers_are_trimmed() -> None:
    answer = {
        "title": "A photo of a bowl",
        "claims": [ANSWER["claims"][0] | {"text": "This image shows a bowl."}],
    }  # type: ignore[index]
    told = describe(
        json.dumps(answer | {"tags": []}), finished=True, known=KNOWN, taxonomy=TAXONOMY, words=(1, 9)
    )
    assert (told.title, told.description) == ("A bowl", "A bowl.")
    assert (told.valid, told.problems) == (True, ("repaired",))


@pytest.mark.parametrize("answer", ["", "a bowl", "{", "[1, 2]", '{"title": "Bowl"}', '{"claims": 3}'])
def test_what_cannot_be_mended_is_told_by_the_caption_alone(answer: str) -> None:
    told = describe(answer, finished=True, known=KNOWN, taxonomy=TAXONOMY, words=WORDS)
    assert told.description == KNOWN.caption
    assert told.problems == ("from_caption",)
    assert (told.claims[0].flags, told.claims[0].region_ids) == ((), (BOWL.region_id,))
    silent = describe(
        answer, finished=True, known=Known({}, "", (), frozenset()), taxonomy=TAXONOMY, words=WORDS
    )
    assert (silent.description, silent.claims, silent.json) == ("", (), None)
    assert silent.problems == ("from_caption", "words", "empty")


words = st.sampled_from(
    [
        "bowl",
        "oak",
        "chair",
        "This image shows",
        "a",
        ". ",
        ",",
        "glass",
        "café",
        '"',
        "\\",
        "\n",
        "top",
        "hat",
        "-",
    ]
)
texts = st.lists(words, max_size=8).map(" ".join)
claims = st.fixed_dictionaries(
    {
        "aspect": st.sampled_from(["subject", "lighting", "colour", "mood"]),
        "text": texts,
        "regions": st.lists(st.sampled_from(["r1", "r2", "bowl"]), max_size=2),
    }
)
answers = st.fixed_dictionaries(
    {"title": texts, "claims": st.lists(claims, max_size=6), "tags": st.lists(texts, max_size=3)}
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """An answer, perhaps cut, with commas and other things where they should not be."""
    text = json.dumps(draw(answers), ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("]", ",]").replace("}", ", }")
    start, end = draw(st.integers(0, 3)), draw(st.integers(0, len(text)))
    return draw(texts) + text[start if draw(st.booleans()) else 0 : end] + draw(texts)


@given(damaged(), st.integers(1, 30))
def test_no_repair_adds_an_entity(answer: str, most: int) -> None:
    known = Known({}, "", (), frozenset())
    told = describe(answer, finished=True, known=known, taxonomy=TAXONOMY, words=(0, most))
    entities = LABELS.concepts_in(told.title, told.description, *told.tags)
    assert entities <= LABELS.concepts_in(
        answer.replace("\\u00e9", "é").replace("\\n", "\n").replace("\\", "")
    )
    assert told.json is None or parse_description(told.json) is not None


def test_a_fact_that_was_not_said_is_found() -> None:
    said = Description.model_validate(ANSWER)
    assert adds_no_fact(said, json.dumps(ANSWER), LABELS)
    assert not adds_no_fact(said, json.dumps(ANSWER).replace("sword", "stick"), LABELS)
    assert adds_no_fact(said.model_copy(update={"tags": ["Bowls"]}), json.dumps(ANSWER), LABELS)
    assert not adds_no_fact(said.model_copy(update={"tags": ["crown"]}), json.dumps(ANSWER), LABELS)


@given(answers, st.integers(1, 30))
def test_tidying_only_leaves_out(answer: dict[str, object], most: int) -> None:
    if (said := salvaged(json.dumps(answer))) is None:
        return
    kept = [claim.text for claim in tidied(said, most).claims]
    whole = [claim.text for claim in said.claims]
    assert 1 <= len(kept) <= len(whole)
    assert all(any(text.casefold() in was.casefold() for was in whole) for text in kept)


@given(st.text())
def test_any_text_is_described_somehow(answer: str) -> None:
    told = describe(answer, finished=True, known=KNOWN, taxonomy=TAXONOMY, words=WORDS)
    assert told.description == KNOWN.caption


# ---- the stages on a lake


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that the model really got; the model still does its work."""
    prompts: list[str] = []
    answer = ChatVlm.answer

    def listening(self: ChatVlm, images: object, asked: list[str], **kw: object) -> list[Answer]:
        prompts.extend(f"{self.spec.beams}:{prompt}" for prompt in asked)
        return answer(self, images, asked, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(ChatVlm, "answer", listening)
    return prompts


@pytest.fixture
def workspace(tmp_path: Path, checkpoint: Path) -> Workspace:
    return workspace_with(tmp_path, model=str(checkpoint))


def ids_of(workspace: Workspace) -> list[str]:
    ids: list[str] = workspace.lake.read("proxies", KEY)["id"].to_pylist()
    return ids


def write_ocr(workspace: Workspace, *lines: str) -> None:
    ids = ids_of(workspace)
    rows = [
        {"id": ids[0], "line": number, "text": line, "confidence": 0.9, "fingerprint": "ocr"}
        for number, line in enumerate(lines)
    ]
    workspace.lake.write(
        "ocr_text", with_empty_ids(pa.Table.from_pylist(rows), dict.fromkeys(ids[1:], "ocr")), KEY
    )


def test_a_second_run_asks_nothing(workspace: Workspace, asked: list[str]) -> None:
    assert run(workspace) == [PICTURES] * 3
    # a caption, keywords and a description an image; two of the three regions are one place
    assert len(asked) == 3 * PICTURES + 2 * (PICTURES - 1)
    asked.clear()
    assert run(workspace) == [0, 0, 0]
    assert asked == []


def test_rows_are_as_the_tables_say(workspace: Workspace) -> None:
    run(workspace)
    captions = workspace.lake.read("captions", KEY)
    assert captions.schema.names == CAPTIONS.schema.names
    for row in captions.to_pylist():
        assert row["tokens"] == 6
        assert row["mean_logprob"] < 0 < row["entropy"]
        assert "cut" in row["problems"]
        assert row["prompt"] == CAPTION
    regions = workspace.lake.read("region_captions", KEY).to_pylist()
    assert len(regions) == 3 * (PICTURES - 1)
    by_region = {row["region_id"]: row["caption"] for row in regions}
    first = ids_of(workspace)[0][:12]
    assert by_region[f"{first}-r1"] == by_region[f"{first}-r2"] != by_region[f"{first}-r3"]
    descriptions = workspace.lake.read("descriptions", KEY)
    assert descriptions.schema.names == DESCRIPTIONS.schema.names
    caption_of = {row["id"]: row["caption"] for row in captions.to_pylist()}
    for row in descriptions.to_pylist():
        assert (row["lane"], row["valid"], row["caption"]) == ("fast", False, caption_of[row["id"]])
        assert {"cut", "from_caption"} <= set(row["problems"])


def test_text_in_a_picture_is_told_to_the_model_and_changes_its_rows_only(
    workspace: Workspace, asked: list[str]
) -> None:
    run(workspace)
    asked.clear()
    write_ocr(workspace, "ROOM 4", "No\nflash")
    assert run(workspace) == [1, 0, 1]
    assert f"1:{with_text(CAPTION, ['ROOM 4', 'No flash'])}" in asked
    assert asked[-1] == (
        "1:Write a catalogue description of this photograph as JSON."
        "\nText in the picture: ROOM 4; No flash\nRegions: r1 bowl; r2 chair"
    )


CHAIR = Region("0123456789ab-r2", "chair", "chair", (0.5, 0.1, 0.4, 0.6), 0.8)


def told(claim: str, *regions: str) -> CheckedClaim:
    answer = json.dumps(
        {
            "title": "Things",
            "claims": [{"aspect": "subject", "text": claim, "regions": list(regions)}],
            "tags": ["bowl"],
        }
    )
    known = Known({"r1": BOWL, "r2": CHAIR}, "A bowl and a chair.", ("ANNO 1677",), frozenset())
    return describe(answer, finished=True, known=known, taxonomy=TAXONOMY, words=WORDS).claims[0]


def test_a_claim_is_cited_by_the_regions_that_it_names() -> None:
    right = told("A bowl stands on the left.", "r1")
    assert (right.region_ids, right.flags) == ((BOWL.region_id,), ())
    wrong = told("A bowl stands on the left.", "r2")
    assert (wrong.region_ids, wrong.flags) == ((BOWL.region_id,), ("wrong_region",))
    silent = told("A bowl and a chair stand together.")
    assert (silent.region_ids, silent.flags) == ((BOWL.region_id, CHAIR.region_id), ())


def test_a_quotation_is_what_was_read() -> None:
    assert told("A bowl beside the label 'ANNO 1790'.").text == "A bowl beside the label 'ANNO 1677'."
    assert requoted("a label reading 'ANNO 1790'", ()) == "a label reading 'ANNO 1790'"
    assert requoted("reads 'anno-1677'", ("ANNO 1677",)) == "reads 'anno-1677'"
    assert requoted("the potter's mark 'CASE 4'", ("ROOM 9", "CASE 44")) == "the potter's mark 'CASE 44'"


def test_the_heavy_lane_describes_what_routing_sends_there(workspace: Workspace, asked: list[str]) -> None:
    run(workspace)
    before = workspace.lake.read("captions", KEY)
    asked.clear()
    ids = ids_of(workspace)
    lanes = [{"id": id_, "lane": "heavy" if id_ == ids[1] else "fast", "fingerprint": "r"} for id_ in ids]
    workspace.lake.write("routing", pa.Table.from_pylist(lanes), KEY)
    assert run(workspace) == [0, 0, 1]
    assert [prompt[:2] for prompt in asked] == [
        "4:",
        "4:",
    ]  # the caption and the description, with more beams
    assert workspace.lake.read("captions", KEY).equals(before)
    rows = {row["id"]: row["lane"] for row in workspace.lake.read("descriptions", KEY).to_pylist()}
    assert [rows[id_] for id_ in ids] == ["fast", "heavy", "fast", "fast", "fast"]


def test_without_a_detector_images_are_described_without_regions(
    tmp_path: Path, workspace: Workspace, asked: list[str]
) -> None:
    workspace.lake.delete("grounded_regions", KEY)
    tier = json.loads((tmp_path / "tiny.yaml").read_text())
    del tier["detector"]
    (tmp_path / "tiny.yaml").write_text(json.dumps(tier))
    assert run(open_workspace(workspace.home)) == [PICTURES, 0, PICTURES]
    assert not any("Regions:" in prompt for prompt in asked)


def test_a_tier_without_a_vlm_skips_the_assets_and_says_so(tmp_path: Path, workspace: Workspace) -> None:
    import dagster as dg

    from resources.workspace import VistagResource
    from vistag_assets.partitions import FOLDERS

    tier = json.loads((tmp_path / "tiny.yaml").read_text())
    del tier["vlm"]
    (tmp_path / "tiny.yaml").write_text(json.dumps(tier))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [KEY])
        result = dg.materialize(
            [captions_asset, region_captions, descriptions],
            partition_key=KEY,
            instance=instance,
            resources={"vistag": VistagResource(home=str(workspace.home.root))},
        )
        for event in result.get_asset_materialization_events():
            metadata = event.materialization.metadata
            assert "names no vlm" in str(metadata["skipped"].value)
    assert workspace.lake.folders("captions") == []


def test_the_assets_run_with_previews_and_their_checks_pass(workspace: Workspace) -> None:
    import dagster as dg

    from resources.workspace import VistagResource
    from vistag_assets.partitions import FOLDERS

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [KEY])
        result = dg.materialize(
            [
                captions_asset,
                region_captions,
                descriptions,
                captions_are_one_sentence,
                descriptions_fit_the_schema,
                descriptions_cite_their_own_regions,
            ],
            partition_key=KEY,
            instance=instance,
            resources={"vistag": VistagResource(home=str(workspace.home.root))},
        )
        assert result.success
        passed = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        assert passed["descriptions_cite_their_own_regions"]
        assert not passed["captions_are_one_sentence"]  # a random model says nothing whole
        assert not passed["descriptions_fit_the_schema"]
        for table in ("captions", "region_captions", "descriptions"):
            assert "data:image/jpeg" in preview_page(workspace.home, table, KEY).read_text()
