"""The asset `tags` for one folder: what is kept, flagged and appended, and what people decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image
from tiny_checkpoint import save_tiny_siglip

from resources.decisions import Event
from resources.home import FolderRef, Home, Settings, write_settings
from resources.lake import UpdateStats, embedding_column, with_empty_ids
from resources.lake.store import MissingPartition
from resources.models.tiers import TierError, load_tier
from resources.tables import TAG_SCORES, TAGS
from resources.workspace import VistagResource, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.partitions import FOLDERS
from vistag_assets.tags import tags as fused_tags
from vistag_assets.tags.evidence import Source
from vistag_assets.tags.fusion import fuse, load_fusion
from vistag_assets.tags.tagger import evidence_in, sources_of
from vistag_assets.whole_image.concept_embeddings import embed_concepts

KEY = "lib--a"
VOCABULARY = """id,pref_label,alt_labels,facet,broader,definition
vessel,vessel,,object,,
vase,vase,,object,vessel,
bowl,bowl,,object,vessel,
bronze,bronze,,material,,
shelf,wooden shelf,,setting,,
"""
MODEL = {"model": "./none", "licence": "own"}
ROLES = {
    "detector": {"family": "owlv2", **MODEL},
    "vlm": MODEL,
    "ocr": {},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_siglip(tmp_path_factory.mktemp("tiny"))


UseTier = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, use_tier: UseTier) -> Home:
    home = Home(tmp_path / "home")
    use_tier()
    workspace = open_workspace(home)
    embed_concepts(workspace)
    write_lake(home, workspace.encoder.dimension)
    return home


@pytest.fixture
def use_tier(tmp_path: Path, checkpoint: Path) -> UseTier:
    def use(**changes: object) -> None:
        encoder = {"family": "siglip", "model": str(checkpoint), "licence": "own"}
        tier = {"description": "tiny", "device": "cpu", "encoder": encoder} | ROLES | changes
        (tmp_path / "tiny.yaml").write_text(
            json.dumps({name: spec for name, spec in tier.items() if spec is not None})
        )
        (tmp_path / "vocabulary.csv").write_text(VOCABULARY)
        settings = Settings(tier=str(tmp_path / "tiny.yaml"), taxonomy=str(tmp_path / "vocabulary.csv"))
        write_settings(Home(tmp_path / "home"), settings)

    return use


def write_lake(home: Home, dimension: int) -> None:
    """Two images with evidence, "a" and "b", and one, "c", in which nothing was found."""
    lake, first = home.lake, {"fingerprint": "f"}
    images = [{"id": id_, "path": f"{id_}.jpg", **first} for id_ in "abc"]
    for image in images:
        Image.new("RGB", (4, 3)).save(home.root / image["path"])
    lake.write("proxies", pa.Table.from_pylist(images), KEY)
    lake.write("images", pa.Table.from_pylist(images), KEY)

    def score(id_: str, concept_id: str, probability: float, lender: str | None = None) -> dict[str, Any]:
        return {
            "id": id_,
            "concept_id": concept_id,
            "rank": 1,
            "cosine": 0.0,
            "logit": float(np.log(probability / (1 - probability))),
            "score": probability,
            "probability": probability,
            "inherited_from": lender,
            **first,
        }

    scores = [
        score("a", "vase", 0.6),
        score("a", "vessel", 0.6, "vase"),
        score("a", "bowl", 0.3),
        score("a", "bronze", 0.55),
        score("a", "shelf", 0.9),
        score("b", "bowl", 0.8),
        score("b", "vessel", 0.9),
    ]
    lake.write("tag_scores", pa.Table.from_pylist(scores, schema=TAG_SCORES.schema), KEY)
    regions = [
        {"id": "a", "region_id": "a-r1", "concept_id": "vase", "phrase": "vase", "score": 0.9, **first},
        {"id": "a", "region_id": "a-r2", "concept_id": "bowl", "phrase": "bowl", "score": 0.5, **first},
        {"id": "a", "region_id": "a-r3", "concept_id": None, "phrase": "gadget", "score": 0.4, **first},
    ]
    silent = {"b": "f", "c": "f"}
    lake.write("grounded_regions", with_empty_ids(pa.Table.from_pylist(regions), silent), KEY)
    matches = [
        {**regions[0], "logit": 2.0, "probability": 0.9, "verdict": "confirmed"},
        {**regions[1], "logit": -3.0, "probability": 0.05, "verdict": "rejected"},
    ]
    lake.write("region_matches", with_empty_ids(pa.Table.from_pylist(matches), silent), KEY)
    vectors = np.zeros((3, dimension), dtype=np.float32)
    vectors[:, 0] = 1
    embedded = pa.table(
        {
            "id": ["a"] * 3,
            "region_id": ["a-r1", "a-r2", "a-r3"],
            "embedding": embedding_column(vectors),
            "fingerprint": ["f"] * 3,
        }
    )
    lake.write("region_embeddings", with_empty_ids(embedded, silent), KEY)
    keywords = [
        {"phrase": "vase", "concept_id": "vase", "logprob": -0.1},
        {"phrase": "gadget", "concept_id": None, "logprob": -0.7},
    ]
    captions = [
        {"id": "a", "caption": "A vase.", "keywords": keywords, **first},
        {"id": "b", "caption": "A bowl.", "keywords": keywords[1:], **first},
        {"id": "c", "caption": "", "keywords": keywords[:0], **first},
    ]
    lake.write("captions", pa.Table.from_pylist(captions), KEY)
    seen = [{"id": "a", "region_id": "a-r1", "caption": "a bronze vase", "mean_logprob": -0.2, **first}]
    lake.write("region_captions", with_empty_ids(pa.Table.from_pylist(seen), silent), KEY)
    text = [{"id": "b", "line": 0, "text": "BRONZE", "confidence": 0.9, **first}]
    lake.write("ocr_text", with_empty_ids(pa.Table.from_pylist(text), {"a": "f", "c": "f"}), KEY)


def run(home: Home) -> UpdateStats:
    workspace = open_workspace(home)
    return update_table("tags", workspace, KEY)


def tags_of(home: Home, id_: str) -> dict[str, dict[str, Any]]:
    """By phrase, in the order of their ranks, which must be 1, 2, 3 ..."""
    rows = [row for row in home.lake.read("tags", KEY).to_pylist() if row["id"] == id_]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    return {row["phrase"]: row for row in rows}


def decide(home: Home, id_: str, phrase: str, state: str) -> None:
    rows = home.lake.read("tags", KEY)
    chosen = pc.and_(pc.equal(rows["id"], id_), pc.equal(rows["phrase"], phrase))
    place = rows.column_names.index("state")
    states = pc.if_else(chosen, state, rows["state"])
    home.lake.write("tags", rows.set_column(place, "state", states), KEY)


def test_each_tag_shows_the_scores_and_the_boxes_behind_it(home: Home) -> None:
    assert run(home).computed == 3
    assert home.lake.read("tags", KEY).schema.equals(TAGS.schema)
    vase = tags_of(home, "a")["vase"]
    assert vase["region_ids"] == ["a-r1"]
    assert vase["global_probability"] == pytest.approx(0.6)
    assert vase["detector_score"] == pytest.approx(0.9)
    assert vase["region_probability"] == pytest.approx(0.9)
    assert vase["vlm_logprob"] == pytest.approx(-0.1)
    assert vase["region_caption_score"] == pytest.approx(np.exp(-0.2))
    # 1 - (1 - global) (1 - box * match) (1 - half of the caption's word) (1 - half of the word on the crop)
    left_open = 0.4 * (1 - 0.81) * 0.5 * (1 - 0.5 * np.exp(-0.2))
    assert vase["probability"] == pytest.approx(1 - left_open, abs=1e-5)
    assert (vase["state"], vase["needs_review"], vase["fusion"]) == ("machine", False, "prior-1")
    assert tags_of(home, "b")["bronze"]["ocr_score"] == pytest.approx(0.9)


def test_a_broader_tag_gets_the_fused_probability_and_the_boxes_of_its_narrower_one(home: Home) -> None:
    run(home)
    tags = tags_of(home, "a")
    assert tags["vessel"]["inherited_from"] == "vase"
    assert tags["vessel"]["probability"] == tags["vase"]["probability"]
    assert tags["vessel"]["region_ids"] == ["a-r1"]
    own = tags_of(home, "b")["vessel"]  # of itself more probable than its only narrower one
    assert (own["inherited_from"], own["probability"]) == (None, pytest.approx(0.9))


def test_nothing_is_lent_where_the_tier_says_so(home: Home, use_tier: UseTier) -> None:
    use_tier(share_with_broader=False)
    run(home)
    assert "vessel" not in tags_of(home, "a")


def test_a_tag_that_a_box_should_show_and_none_does_is_ungrounded(home: Home) -> None:
    run(home)
    flags = {phrase: tag["ungrounded"] for phrase, tag in tags_of(home, "a").items()}
    # the bowl's box was rejected; a setting has no box
    assert flags == {"vase": False, "vessel": False, "bowl": True, "bronze": True, "wooden shelf": False}


def test_an_image_known_too_little_gets_the_words_of_the_vlm_for_review(
    home: Home, use_tier: UseTier
) -> None:
    use_tier(tags={"confident_tags": 3})
    run(home)
    assert "gadget" not in tags_of(home, "a")  # three tags of at least 0.5
    proposal = tags_of(home, "b")["gadget"]
    assert proposal["concept_id"] is None
    assert proposal["needs_review"]
    assert proposal["rank"] == len(tags_of(home, "b"))
    use_tier(tags={"confident_tags": 9})
    run(home)
    assert tags_of(home, "a")["gadget"]["region_ids"] == ["a-r3"]


def test_only_the_best_tags_that_are_probable_enough_are_kept(home: Home, use_tier: UseTier) -> None:
    use_tier(tags={"top_k": 2, "confident_tags": 0})
    run(home)
    assert list(tags_of(home, "a")) == ["vase", "vessel", "wooden shelf"]  # the broader one comes on top
    use_tier(tags={"min_probability": 0.95, "confident_tags": 0})
    run(home)
    assert list(tags_of(home, "a")) == ["vase", "vessel"]


@pytest.mark.parametrize(
    ("option", "phrases"),
    [
        ("A1", {"vase", "vessel", "gadget"}),
        ("A2", {"vase", "vessel", "bowl", "bronze", "wooden shelf"}),
        ("A3", {"vase", "vessel", "bowl", "bronze", "wooden shelf"}),
    ],
)
def test_an_option_hears_its_sources_only(
    home: Home, use_tier: UseTier, option: str, phrases: set[str]
) -> None:
    use_tier(option=option)
    run(home)
    tags = tags_of(home, "a")
    assert set(tags) == phrases
    assert (tags["vase"]["global_probability"] is None) == (option == "A1")
    assert (tags["vase"]["detector_score"] is None) == (option != "A3")
    if option != "A3":
        assert not any(tag["ungrounded"] for tag in tags.values())


def test_the_ladder_hears_an_option_of_the_same_lake(home: Home) -> None:
    workspace = open_workspace(home)
    sources = {option: sources_of(workspace.tier, option) for option in ("A1", "A2", "A3")}
    evidence = evidence_in(workspace, sources["A1"] | sources["A3"])
    told = {option: fuse(evidence, load_fusion(workspace.tier.fusion), sources[option]) for option in sources}
    vases = {
        option: next(row["probability"] for row in rows.to_pylist() if row["concept_id"] == "vase")
        for option, rows in told.items()
    }
    assert vases["A1"] < vases["A2"] < vases["A3"]
    assert told["A1"].num_rows < told["A2"].num_rows


def test_a_tier_without_a_role_needs_no_table_of_it(home: Home, use_tier: UseTier) -> None:
    for table in ("grounded_regions", "captions", "ocr_text"):
        home.lake.delete(table, KEY)
    with pytest.raises(MissingPartition, match="materialise ocr_text"):
        run(home)
    use_tier(detector=None, vlm=None, ocr=None)
    run(home)
    assert tags_of(home, "a")["vase"]["probability"] == pytest.approx(0.6)


def test_sources_are_those_of_the_option_that_the_tier_has(use_tier: UseTier, tmp_path: Path) -> None:
    def sources(**changes: object) -> set[Source]:
        use_tier(**changes)
        return set(sources_of(load_tier(str(tmp_path / "tiny.yaml"))))

    assert sources() == {"global", "regions", "vlm", "region_captions", "ocr"}
    assert sources(option="A2") == sources(option="B2") == {"global"}
    assert sources(option="A3") == {"global", "regions", "ocr"}
    assert sources(option="B1") == {"vlm"}
    tagger = {"family": "ram-plus", **MODEL}
    assert sources(option="A2T", tagger=tagger) == {"global", "tagger"}
    assert sources(option="A2", tagger=tagger) == {"global"}
    assert sources(option="A3", tagger=tagger) == {"global", "regions", "ocr", "tagger"}
    assert sources(tagger=tagger) == {"global", "regions", "vlm", "region_captions", "ocr", "tagger"}
    assert sources(option="A2T") == {"global"}
    assert sources(detector=None) == {"global", "vlm", "ocr"}
    assert sources(option="B3", vlm=None) == {"global", "regions", "ocr"}


def test_a_second_run_computes_nothing_and_new_evidence_its_own_image_only(home: Home) -> None:
    run(home)
    assert run(home).kept == 3
    file = home.lake.data_file("tags", KEY)
    before = file.stat().st_mtime_ns
    assert run(home).computed == 0
    assert file.stat().st_mtime_ns == before
    captions = home.lake.read("captions", KEY)
    prints = pa.array(["f", "new", "f"])
    place = captions.column_names.index("fingerprint")
    home.lake.write("captions", captions.set_column(place, "fingerprint", prints), KEY)
    assert run(home).computed == 1


def test_an_image_with_no_tag_is_remembered(home: Home) -> None:
    run(home)
    assert tags_of(home, "c") == {}
    assert run(home).kept == 3


def say(home: Home, verdict: str, id_: str = "a", concept: str | None = "bowl", **more: Any) -> Event:
    said = {"who": "ada", "verdict": verdict, "image_id": id_, "concept_id": concept, "phrase": concept}
    (event,) = home.decisions.append([Event(**{**said, **more})])
    return event


def test_decisions_of_people_are_never_overwritten(home: Home, use_tier: UseTier) -> None:
    run(home)
    say(home, "accept", concept="bowl")
    say(home, "reject", concept="vase")
    assert run(home).computed == 1  # the decisions change what stands beside them
    assert run(home).computed == 0
    states = {"bowl": ("human", 1), "vase": ("rejected", 2)}
    for changes in ({"tags": {"top_k": 1}, "option": "A2"}, {"option": "A1"}, {}):
        use_tier(**changes)
        assert run(home).computed == 3
        tags = tags_of(home, "a")
        assert {phrase: (tags[phrase]["state"], tags[phrase]["decision"]) for phrase in states} == states
        assert list(tags)[-1] == "vase"  # what was rejected comes last
        assert "vessel" not in tags or tags["vessel"]["inherited_from"] != "vase"  # and lends nothing
        assert not tags["bowl"]["needs_review"]


def test_what_a_person_decided_has_a_row_however_low_it_ranks(home: Home, use_tier: UseTier) -> None:
    use_tier(tags={"top_k": 1, "confident_tags": 0})
    run(home)
    assert "bronze" not in tags_of(home, "a")
    say(home, "accept", concept="bronze")
    say(home, "accept", concept="bowl", id_="c")
    say(home, "accept", concept="of another vocabulary")
    run(home)
    low = tags_of(home, "a")["bronze"]  # what the machine says of it is told
    assert (low["state"], low["global_probability"]) == ("human", pytest.approx(0.55))
    for tag in (tags_of(home, "c")["bowl"], tags_of(home, "a")["of another vocabulary"]):
        assert (tag["state"], tag["probability"], tag["global_probability"]) == ("human", 0, None)
    assert tags_of(home, "c")["bowl"]["ungrounded"]
    assert home.lake.read("tags", KEY).schema.equals(TAGS.schema)


def test_a_decision_that_is_undone_leaves_the_machine_s_word(home: Home) -> None:
    run(home)
    before = tags_of(home, "a")
    event = say(home, "reject", concept="vase")
    say(home, "accept", id_="c")
    run(home)
    say(home, "undo", concept="vase", undoes=event.seq)
    assert run(home).computed == 1
    assert tags_of(home, "a") == before
    assert list(tags_of(home, "c")) == ["bowl"]


def test_a_correction_takes_one_tag_and_gives_another(home: Home) -> None:
    run(home)
    say(home, "correct", concept="vase", corrected_to="bowl", id_="b")
    run(home)
    tags = tags_of(home, "b")
    assert (tags["vase"]["state"], tags["bowl"]["state"]) == ("rejected", "human")


def test_what_was_said_of_a_concept_is_the_state_of_the_one_that_replaced_it(home: Home) -> None:
    run(home)
    event = say(home, "reject", concept="flower-vase")
    run(home)
    assert tags_of(home, "a")["vase"]["state"] == "machine"
    workspace = open_workspace(home)
    object.__setattr__(workspace.taxonomy, "replaced", {"flower-vase": "vase"})
    assert update_table("tags", workspace, KEY).computed == 1
    tags = tags_of(home, "a")
    assert (tags["vase"]["state"], tags["vase"]["decision"]) == ("rejected", event.seq)
    assert "flower-vase" not in tags
    assert home.decisions.since() == [event], "the log stays as it is"


def test_a_decision_follows_the_pixels(home: Home) -> None:
    run(home)
    say(home, "reject", concept="vase", id_="before its metadata changed", pixel_hash="p")
    images = home.lake.read("images", KEY)
    home.lake.write("images", images.append_column("pixel_hash", pa.array(["p", "q", None])), KEY)
    assert run(home).computed == 1
    assert tags_of(home, "a")["vase"]["state"] == "rejected"


def test_decisions_in_the_rows_of_an_older_home_go_to_the_log_once(home: Home) -> None:
    run(home)
    decide(home, "a", "bowl", "human")
    decide(home, "a", "vase", "rejected")
    home.lake.write("tags", home.lake.read("tags", KEY).drop_columns(["decision"]), KEY)
    older = home.lake.read("tags", KEY)
    assert run(home).computed == 3  # of another schema now
    assert (tags_of(home, "a")["bowl"]["state"], tags_of(home, "a")["vase"]["state"]) == ("human", "rejected")
    (rejected, accepted) = home.decisions.since()
    assert (accepted.concept_id, accepted.verdict, accepted.who) == ("bowl", "accept", "unknown")
    assert (rejected.folder, rejected.path) == (KEY, "a.jpg")
    assert run(home).computed == 0
    # what is said afterwards stands, also where a backup of those rows comes back
    say(home, "undo", undoes=accepted.seq)
    home.lake.write("tags", older, KEY)
    run(home)
    assert tags_of(home, "a")["bowl"]["state"] == "machine"
    assert len(home.decisions.since()) == 3


def test_a_state_that_another_program_wrote_is_taken_into_the_log(home: Home) -> None:
    run(home)
    decide(home, "a", "bowl", "human")
    assert run(home).computed == 1
    home.lake.delete("tags", KEY)
    run(home)
    assert tags_of(home, "a")["bowl"]["state"] == "human"


def test_decisions_outlive_the_file_of_the_tags(home: Home) -> None:
    run(home)
    say(home, "accept")
    run(home)
    before = home.lake.read("tags", KEY)
    home.lake.data_file("tags", KEY).write_bytes(b"damaged")
    assert run(home).quarantined is not None
    assert home.lake.read("tags", KEY) == before


def test_a_rejected_word_of_the_vlm_does_not_come_back(home: Home, use_tier: UseTier) -> None:
    use_tier(tags={"confident_tags": 9})
    run(home)
    say(home, "reject", concept=None, phrase="gadget")
    for confident_tags in (9, 0):
        use_tier(tags={"confident_tags": confident_tags})
        run(home)
        gadget = tags_of(home, "a")["gadget"]
        assert (gadget["state"], gadget["needs_review"]) == ("rejected", False)
        assert gadget["vlm_logprob"] == pytest.approx(-0.7)


def test_settings_of_the_tier_are_checked(use_tier: UseTier, tmp_path: Path) -> None:
    use_tier(tags={"top": 3})
    with pytest.raises(TierError, match=r"tags\.top: unknown field; known: top_k"):
        load_tier(str(tmp_path / "tiny.yaml"))


def test_the_asset_and_its_checks(home: Home, tmp_path: Path) -> None:
    home.register(FolderRef(KEY, "lib", str(tmp_path), "a"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [KEY])
        result = dg.materialize(
            [
                fused_tags.tags,
                fused_tags.tags_name_regions_that_exist,
                fused_tags.tags_are_ranked_by_probability,
            ],
            instance=instance,
            resources={"vistag": VistagResource(home=str(home.root))},
            tags={
                "dagster/asset_partition_range_start": KEY,
                "dagster/asset_partition_range_end": KEY,
            },
        )
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert len(result.get_asset_check_evaluations()) == 2


def test_a_blank_picture_has_no_tags_of_a_machine(home: Home) -> None:
    run(home)
    assert tags_of(home, "a")
    images = home.lake.read("images", KEY).to_pylist()
    noted = [{**image, "notes": ["blank"] if image["id"] == "a" else []} for image in images]
    home.lake.write("images", pa.Table.from_pylist(noted), KEY)
    assert run(home).computed == 1
    assert tags_of(home, "a") == {}
    assert tags_of(home, "b")


def test_tags_carry_what_the_catalogue_calls_their_concept(home: Home, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.csv").write_text(
        "id,pref_label,alt_labels,facet,broader,definition,iri,notation\n"
        "vessel,vessel,,object,,,,\nvase,vase,,object,vessel,,http://aat.example/300132254,V-7\n"
        "bowl,bowl,,object,vessel,,,\nbronze,bronze,,material,,,,\nshelf,wooden shelf,,setting,,,,\n"
    )
    run(home)
    rows = [row for row in home.lake.read("tags", KEY).to_pylist() if row["concept_id"] in ("vase", "bowl")]
    assert {(row["concept_id"], row["iri"], row["notation"]) for row in rows} == {
        ("vase", "http://aat.example/300132254", "V-7"),
        ("bowl", None, None),
    }


def test_rows_stored_before_there_were_columns_of_identity_stay_valid(home: Home) -> None:
    run(home)
    older = home.lake.read("tags", KEY).drop_columns(["iri", "notation"])
    home.lake.replace("tags", older, KEY)
    again = run(home)
    assert (again.kept, again.computed) == (3, 0)
