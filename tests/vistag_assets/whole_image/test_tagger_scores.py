"""`tagger_scores`: a tagger's scores in the lake, its tags as concepts, and the way of both into the final tags."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from image_zoo import picture
from tiny_checkpoint import save_tiny_siglip
from tiny_encoders import save_tiny_clip
from tiny_taggers import TAGS, WD_TAGS, save_tiny_ram, save_tiny_wd

from resources.home import FolderRef, Home, Settings, write_settings
from resources.lake import empty_ids
from resources.models.taggers.ram import RamTagger
from resources.models.tiers import TierError, load_tier
from resources.tables import TAGGER_SCORES
from resources.workspace import VistagResource, open_workspace
from vistag_assets.folder_asset import update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.partitions import FOLDERS
from vistag_assets.progress import Meter
from vistag_assets.whole_image import tagger_scores as stage
from vistag_assets.whole_image.concept_embeddings import embed_concepts

KEY = "lib--a"
VOCABULARY = """id,pref_label,alt_labels,facet,broader,definition
vase,vase,amphora,object,,
lamp,lamp,oil lamp,object,,
girl,one girl,1girl,object,,
bronze,bronze,,material,,
"""
RAM, WD, ENCODER, CLIP = "ram", "wd", "encoder", "clip"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_tiny_ram("ram-plus", folder / RAM)
    save_tiny_wd(folder / WD)
    for name, save in ((ENCODER, save_tiny_siglip), (CLIP, save_tiny_clip)):
        (folder / name).mkdir()
        save(folder / name)
    return folder


@pytest.fixture
def home(tmp_path: Path, models: Path) -> Home:
    home = Home(tmp_path / "home")
    use_tier(home, tmp_path, models)
    library = tmp_path / "library"
    library.mkdir()
    for number in range(3):
        picture(40 + 20 * number, 50, seed=number).save(library / f"{number}.png")
    folder = FolderRef(KEY, "lib", str(library), ".")
    home.register(folder)
    ingest_files(open_workspace(home), folder, Meter("ingest"))
    return home


def use_tier(home: Home, folder: Path, models: Path, vocabulary: str = VOCABULARY, **changes: object) -> None:
    ram = {"family": "ram-plus", "model": str(models / RAM), "licence": "Apache-2.0", "dtype": "float32"}
    encoder = {"family": "siglip", "model": str(models / ENCODER), "licence": "own"}
    tier = {"description": "t", "device": "cpu", "encoder": encoder, "option": "A2T", "tagger": ram} | changes
    (folder / "t.yaml").write_text(json.dumps({name: value for name, value in tier.items() if value}))
    (folder / "v.csv").write_text(vocabulary)
    write_settings(home, Settings(tier=str(folder / "t.yaml"), taxonomy=str(folder / "v.csv")))


def ram_line(models: Path, **changes: object) -> dict[str, object]:
    fields = {"family": "ram-plus", "model": str(models / RAM), "licence": "Apache-2.0", "dtype": "float32"}
    return fields | changes


def rows_of(home: Home) -> pa.Table:
    return home.lake.read("tagger_scores", KEY)


def test_every_score_is_kept_where_the_tier_asks_for_it(home: Home, tmp_path: Path, models: Path) -> None:
    use_tier(home, tmp_path, models, tagger=ram_line(models, min_score=0))
    assert update_table("tagger_scores", open_workspace(home), KEY).computed == 3
    rows = rows_of(home)
    assert rows.schema.names == TAGGER_SCORES.schema.names
    assert rows.num_rows == 3 * len(TAGS)
    assert set(rows["threshold"].to_pylist()) == {float(np.float32(0.68))}
    assert rows["concept_id"].null_count == rows["category"].null_count == rows.num_rows
    for id_ in set(rows["id"].to_pylist()):
        own = sorted((row for row in rows.to_pylist() if row["id"] == id_), key=lambda row: row["rank"])
        assert [row["rank"] for row in own] == list(range(1, len(TAGS) + 1))
        assert {row["tag"] for row in own} == set(TAGS)
        scores = [row["score"] for row in own]
        assert scores == sorted(scores, reverse=True)


def test_a_second_run_asks_nothing_also_where_no_score_was_kept(
    home: Home, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tier(home, tmp_path, models, tagger=ram_line(models, min_score=1))
    assert update_table("tagger_scores", open_workspace(home), KEY).computed == 3
    assert rows_of(home).num_rows == 0
    assert len(empty_ids(rows_of(home))) == 3
    with monkeypatch.context() as patched:
        patched.setattr(RamTagger, "score", lambda *_: pytest.fail("an image was shown again"))
        assert update_table("tagger_scores", open_workspace(home), KEY).kept == 3
        # its own tags are found in the vocabulary later: another vocabulary asks no model
        use_tier(
            home,
            tmp_path,
            models,
            VOCABULARY + "zongzi,zongzi,,object,,\n",
            tagger=ram_line(models, min_score=1),
        )
        assert update_table("tagger_scores", open_workspace(home), KEY).kept == 3


def test_the_vocabulary_is_asked_in_the_place_of_its_own_tags(
    home: Home, tmp_path: Path, models: Path
) -> None:
    line = ram_line(models, min_score=0, open_set=True, text_model=str(models / CLIP))
    use_tier(home, tmp_path, models, tagger=line)
    assert update_table("tagger_scores", open_workspace(home), KEY).computed == 3
    rows = rows_of(home).to_pylist()
    assert {(row["tag"], row["concept_id"]) for row in rows} == {
        ("vase", "vase"), ("lamp", "lamp"), ("one girl", "girl"), ("bronze", "bronze")
    }  # fmt: skip
    assert {row["threshold"] for row in rows} == {0.5}
    use_tier(home, tmp_path, models, VOCABULARY + "zongzi,zongzi,,object,,\n", tagger=line)
    assert update_table("tagger_scores", open_workspace(home), KEY).computed == 3
    assert "zongzi" in rows_of(home)["concept_id"].to_pylist()


def test_a_line_of_a_tier_may_be_a_name_alone(tmp_path: Path) -> None:
    tier = tmp_path / "named.yaml"
    plain = "description: d\ndevice: cpu\nencoder: google/siglip2-base-patch16-256\n"
    tier.write_text(plain + "tagger: ram-plus\nsegmenter: mobile-sam\nocr: {}\n")
    read = load_tier(str(tier))
    assert read.tagger is not None
    assert read.segmenter is not None
    assert (read.tagger.family, read.tagger.model, read.tagger.licence) == (
        "ram-plus",
        "ram-plus",
        "Apache-2.0",
    )
    assert (read.segmenter.family, read.encoder.family) == ("mobile-sam", "siglip")
    tier.write_text(plain + "tagger: ram-minus\n")
    with pytest.raises(TierError, match=r"line 4: tagger: 'ram-minus' is no tagger of the registry"):
        load_tier(str(tier))
    tier.write_text(plain + "segmenter: FastSAM-s.onnx\n")
    with pytest.raises(TierError, match=r"accept_licence: \[AGPL-3\.0\]"):
        load_tier(str(tier))


def test_the_path_of_the_text_model_is_relative_to_the_tier(home: Home, tmp_path: Path, models: Path) -> None:
    use_tier(home, tmp_path, models, tagger=ram_line(models, open_set=True, text_model="./beside"))
    spec = open_workspace(home).tier.tagger
    assert spec is not None
    assert spec.text_model == str(tmp_path / "beside")


@pytest.mark.parametrize("family", [RAM, pytest.param(WD, marks=pytest.mark.slow)])
def test_tags_become_evidence_of_the_concepts_that_they_are_labels_of(
    home: Home, tmp_path: Path, models: Path, family: str
) -> None:
    line = {"family": "wd", "model": str(models / WD), "licence": "own"} if family == WD else ram_line(models)
    use_tier(home, tmp_path, models, tagger=line, tags={"min_probability": 0, "top_k": 40})
    workspace = open_workspace(home)
    embed_concepts(workspace)
    for table in ("global_embeddings", "tag_scores", "tagger_scores", "tags"):
        update_table(table, workspace, KEY)
    best: dict[tuple[str, str], float] = {}
    concept_of = {"vase": "vase", "Amphora": "vase", "oil lamp": "lamp", "1girl": "girl"}
    for row in rows_of(home).to_pylist():
        if row["tag"] in concept_of:
            pair = row["id"], concept_of[row["tag"]]
            best[pair] = max(best.get(pair, 0.0), row["score"])
    tags = {(row["id"], row["concept_id"]): row for row in home.lake.read("tags", KEY).to_pylist()}
    assert len(best) == 6 if family == RAM else len(best) == 9
    assert {
        pair: row["tagger_score"] for pair, row in tags.items() if row["tagger_score"] is not None
    } == best
    assert {row["fusion"] for row in tags.values()} == {"prior-1"}
    for pair, score in best.items():
        row, threshold = tags[pair], 0.68 if family == RAM else 0.35
        told = 0.5 * score / threshold if score < threshold else 1 - 0.5 * (1 - score) / (1 - threshold)
        if (
            pair[1] == "vase" and family == RAM
        ):  # two tags; both have the same threshold, so the better one speaks
            assert score == max(
                r["score"]
                for r in rows_of(home).to_pylist()
                if r["id"] == pair[0] and concept_of.get(r["tag"]) == "vase"
            )
        left_open = (1 - (row["global_probability"] or 0)) * (1 - 0.5 * told)
        assert row["probability"] == pytest.approx(1 - left_open, abs=1e-5)


@pytest.mark.slow
def test_the_asset_runs_in_dagster_and_says_what_the_vocabulary_knows(
    home: Home, tmp_path: Path, models: Path
) -> None:
    wd = {"family": "wd", "model": str(models / WD), "licence": "Apache-2.0"}
    use_tier(home, tmp_path, models, tagger=wd)
    result = materialise(home)
    (made,) = [
        each for each in result.asset_materializations_for_node("tagger_scores") if "made_by" in each.metadata
    ]
    told = str(made.metadata["made_by"].value).split("; ")
    assert {f"tags {len(WD_TAGS)}", "tags_of_the_vocabulary 3", "licence Apache-2.0"} <= set(told)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert {row["category"] for row in rows_of(home).to_pylist()} == {"general", "rating", "character"}

    use_tier(home, tmp_path, models, tagger=None, option="A2")
    result = materialise(home)
    (made,) = result.asset_materializations_for_node("tagger_scores")
    assert made.metadata["skipped"].value.startswith("The tier t names no tagger")
    assert not home.lake.exists("tagger_scores", KEY)


def materialise(home: Home) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(FOLDERS, [KEY])
        return dg.materialize(
            [stage.tagger_scores, stage.tagger_scores_fall_with_the_rank],
            instance=instance,
            partition_key=KEY,
            resources={"vistag": VistagResource(home=str(home.root))},
        )
