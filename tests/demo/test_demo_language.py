"""Perfect answers: true of the scene, of the agreed form, and understood by the function that judges answers."""

import json
from typing import get_args

import pytest

from demo.training.language import Speaker, label_text, mirrored
from demo.world.scene import SceneSampler, SceneSpec, Split, drawable_concepts
from resources.models.vlms.description import Aspect, parse_description
from taxonomy import starter_taxonomy

TAXONOMY = starter_taxonomy()
SPEAKER = Speaker(TAXONOMY)
DRAWABLE = frozenset(drawable_concepts())
SCENES = [SceneSampler(Split.VALIDATE, flatness=1.0).scene(index) for index in range(400)]


def test_answers_name_exactly_what_the_scene_shows() -> None:
    for scene in SCENES:
        assert TAXONOMY.labels.concepts_in(SPEAKER.caption(scene)) == scene.tags
        assert TAXONOMY.labels.concepts_in(", ".join(SPEAKER.tags(scene))) == scene.tags
        assert TAXONOMY.labels.concepts_in(SPEAKER.description(scene)) & DRAWABLE == scene.tags


def test_the_longest_label_is_the_one_that_is_meant() -> None:
    assert TAXONOMY.labels.concepts_in("A Magnifying Glass beside spectacles.") == {
        "magnifying-glass",
        "spectacles",
    }
    assert TAXONOMY.labels.concepts_in("a bowling alley and keyholes") == frozenset()
    assert TAXONOMY.labels.concepts_in("keys") == {"key"}
    assert TAXONOMY.labels.concepts_in("a chalice") == {"goblet"}


def _crowded() -> SceneSpec:
    return next(s for s in SCENES if len({i.concept for i in s.objects}) == 3 and label_text(s))


def test_a_caption_tells_the_objects_from_left_to_right() -> None:
    scene = _crowded()
    items = sorted(scene.objects, key=lambda item: item.centre_x)
    for told, backwards in ((scene, False), (mirrored(scene), True)):
        caption = SPEAKER.caption(told, "LOT 7")
        places = [caption.lower().index(SPEAKER.region(item)) for item in items]
        assert places == sorted(places, reverse=backwards)
        assert "a museum label reading 'LOT 7'" in caption


def test_a_description_is_of_the_agreed_form_and_length() -> None:
    for scene in SCENES:
        text = SPEAKER.description(scene, text=label_text(scene))
        assert parse_description(text) is not None
        assert "\n" not in text
        claims = json.loads(text)["claims"]
        assert {claim["aspect"] for claim in claims} == set(get_args(Aspect))
        assert 40 <= len(" ".join(claim["text"] for claim in claims).split()) <= 120


def test_a_claim_cites_the_region_of_its_label_and_none_that_is_not_there() -> None:
    scene = _crowded()
    first = min(scene.objects, key=lambda item: item.centre_x)
    label = TAXONOMY.by_id[first.concept].pref_label
    absent = next(c for c in ("anchor", "ladder", "lyre", "trumpet") if c not in scene.tags)
    claims = json.loads(SPEAKER.description(scene, [("r1", absent), ("r2", label)]))["claims"]
    cited = [claim for claim in claims if claim["regions"]]
    assert [claim["regions"] for claim in cited] == [["r2"]]
    assert label in cited[0]["text"]


@pytest.mark.parametrize(
    "text",
    [
        "A bowl.",
        "[]",
        '{"title": "", "claims": [], "tags": []}',
        '{"title": "A", "claims": [], "tags": []}',
        '{"title": "A", "claims": [{"aspect": "subject"}], "tags": []}',
        '{"title": "A", "claims": [{"aspect": "mood", "text": "b", "regions": []}], "tags": []}',
        '{"title": "A", "claims": [{"aspect": "colour", "text": "b", "regions": [1]}], "tags": []}',
        '{"title": "A", "claims": [{"aspect": "colour", "text": "b", "regions": []}], "tags": [1]}',
    ],
)
def test_what_is_no_description_is_told_from_one(text: str) -> None:
    assert parse_description(text) is None
