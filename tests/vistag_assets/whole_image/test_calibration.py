"""Probabilities fitted to labelled pictures: a line on the logit, kept in the home and used by the next run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from pydantic import ValidationError
from sklearn.metrics import f1_score
from small_library import tag, tiny_home, use_tier
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from evaluation.stored_report import calibration_remarks
from resources.home import Home, Settings, write_settings
from resources.models.tiers import TagSettings
from resources.workspace import open_workspace
from taxonomy import Concept, Taxonomy, starter_taxonomy
from vistag_assets.cli import app
from vistag_assets.exports.records import read_thresholds
from vistag_assets.ingest.keywords import keywords_in_files
from vistag_assets.whole_image.adapters import Linear
from vistag_assets.whole_image.calibration import (
    CalibrationError,
    HomeCalibration,
    Labelled,
    calibrate,
    calibration_of,
    classes_of,
    error_of_the_likeliest,
    fit_line,
    labelled,
    labelled_by_keywords,
    read_home_calibration,
    tried,
    write_home_calibration,
)
from vistag_assets.whole_image.home_adapter import HomeAdapter
from vistag_assets.whole_image.thresholds import (
    STRENGTH,
    fit_thresholds,
    shrunk,
    threshold_at_precision,
    threshold_of_best_f1,
    thresholds_of,
    wider_groups,
    write_home_thresholds,
)

DATA = Path(skimage.__file__).parent / "data"
VOCABULARY = "id,pref_label,alt_labels,facet,broader,definition\n" + "".join(
    f"{label},{label},,object,,\n" for label in ("cat", "espresso", "motorcycle", "dog", "cup")
)


def test_a_line_makes_probabilities_as_often_right_as_they_say() -> None:
    """Logits three times too small and shifted, as of a head that was trained for something else."""
    random = np.random.default_rng(1)
    true = random.normal(1.0, 2.0, 4000)
    logits = np.stack([true / 3 - 1, np.full(4000, -9.0)], axis=1).astype(np.float32)
    right = random.random(4000) < 1 / (1 + np.exp(-true))
    is_true = np.stack([right, ~right], axis=1)
    line = fit_line(logits, is_true)
    assert line.slope == pytest.approx(3, rel=0.15)
    assert line.intercept == pytest.approx(3, rel=0.15)


def test_where_the_likeliest_is_always_right_the_second_says_where_to_doubt() -> None:
    logits = np.array([[2.0, -2.0], [1.5, -1.0]] * 10, np.float32)
    line = fit_line(logits, np.array([[True, False]] * 20))
    assert line.slope > 0
    assert np.isfinite(line.intercept)


def test_the_error_of_the_likeliest() -> None:
    told, right = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32), np.array([[True, False], [False, True]])
    assert error_of_the_likeliest(told, right) == pytest.approx(0.4)


def test_folders_are_classes_by_their_labels(tmp_path: Path) -> None:
    for folder in ("amphora", "Armchairs", "no_such_thing"):
        (tmp_path / folder).mkdir()
        for number in range(10):
            (tmp_path / folder / f"{number}.jpg").touch()
    found = labelled(tmp_path, starter_taxonomy())
    assert classes_of(found) == ["amphora", "armchair"]
    with pytest.raises(CalibrationError, match=r"0 pictures .*; not in the vocabulary: no_such_thing"):
        labelled(tmp_path / "no_such_thing", starter_taxonomy())


SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>{}</rdf:li>
<rdf:li>holiday</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_keywords_are_labels_too(tmp_path: Path) -> None:
    for number in range(24):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
        if number % 3 < 2:
            (tmp_path / f"{number}.png.xmp").write_text(SIDECAR.format(["Armchairs", "amphora"][number % 3]))
    with pytest.raises(
        CalibrationError, match=r"holds 16 pictures of .* not in the vocabulary: holiday.*keywords"
    ):
        labelled_by_keywords(tmp_path, keywords_in_files(tmp_path, starter_taxonomy()))
    for number in range(2, 24, 3):
        (tmp_path / f"{number}.png.xmp").write_text(SIDECAR.format("amphora"))
    found = labelled_by_keywords(tmp_path, keywords_in_files(tmp_path, starter_taxonomy()))
    assert {one.path.stem for one in found if one.concept_ids == {"armchair"}} == {
        str(n) for n in range(0, 24, 3)
    }
    assert classes_of(found) == ["amphora", "armchair"]


@pytest.mark.slow
def test_a_line_of_the_home_scores_anew_and_is_forgotten_with_another_encoder(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, checkpoint := save_tiny_siglip(tmp_path / "tiny"))
    before = tag(home, tmp_path / "library")
    encoder = open_workspace(home).encoder
    line = HomeCalibration(encoder.fingerprint, 2.0, 1.0, "somewhere", 40, 2, 0.2, 0.05)
    write_home_calibration(home, line)
    assert read_home_calibration(home, encoder) == line
    after = tag(home, tmp_path / "library")
    assert (after.embedded, after.scored) == (0, before.scored)
    use_tier(home, tmp_path, save_tiny_siglip(tmp_path / "other", seed=5))
    other = open_workspace(home).encoder
    assert calibration_of(home, other) is None
    assert checkpoint.is_dir()


def test_the_threshold_of_the_best_f1_is_that_of_trying_all() -> None:
    random = np.random.default_rng(2)
    told = np.round(random.random(60), 1).astype(np.float32)  # many are equal
    true = random.random(60) < told
    best = max(f1_score(true, told >= least) for least in np.linspace(0.05, 0.95, 10))
    assert f1_score(true, told >= threshold_of_best_f1(told, true)) == pytest.approx(best)


def test_few_examples_move_a_threshold_little() -> None:
    assert shrunk(0.9, 0.2, 0) == pytest.approx(0.2)
    assert 0.2 < shrunk(0.9, 0.2, 1) < shrunk(0.9, 0.2, STRENGTH) < shrunk(0.9, 0.2, 1000) < 0.9


def test_a_concept_that_is_ever_told_too_little_gets_a_lower_threshold_and_exports_read_it(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(3)
    is_true = np.zeros((400, 2), bool)
    is_true[np.arange(400), random.integers(2, size=400)] = True
    told = np.where(is_true, [0.9, 0.3], [0.1, 0.02]) + random.normal(0, 0.005, (400, 2))
    found = fit_thresholds(["loud", "shy"], told.astype(np.float32), is_true)
    assert found.own["shy"] < 0.3 < found.own["loud"]
    assert found.f1 > 0.99 > 0.7 > found.f1_at_half
    home = Home(tmp_path)
    assert read_thresholds(write_home_thresholds(home, found)) == pytest.approx(found.own, abs=1e-4)


def test_a_threshold_at_a_precision_keeps_as_much_as_that_allows() -> None:
    random = np.random.default_rng(4)
    told = np.round(0.9 * random.random(200), 2).astype(np.float32)
    true = random.random(200) < told
    for floor in (0.6, 0.8):
        cuts = [np.append(told, 1.1) >= cut for cut in np.unique(told)]
        allowed = [kept[:-1].sum() for kept in cuts if true[kept[:-1]].mean() >= floor]
        kept = told >= threshold_at_precision(told, true, floor)
        assert true[kept].mean() >= floor
        assert kept.sum() == max(allowed)
    never = threshold_at_precision(told, told == told.min(), 0.9)
    assert told.max() < never < 1
    assert threshold_at_precision(told, np.zeros(200, bool), 0.9) == 0.5


@pytest.mark.parametrize("floor", [None, 0.5])
def test_a_tag_without_an_example_has_the_threshold_of_its_kin_and_one_with_few_is_drawn_to_it(
    floor: float | None,
) -> None:
    """Vessels are told too little and everything else too much."""
    random, ids = np.random.default_rng(5), ["bowl", "cup", "jug", "axe", "red"]
    is_true = random.random((800, 5)) < [0.3, 0.3, 0.004, 0.3, 0.3]
    is_true[0, 2] = True
    near = np.array([0.2, 0.2, 0.2, 0.8, 0.9])
    told = np.clip(np.where(is_true, near, near / 2) + random.normal(0, 0.02, is_true.shape), 0.001, 0.999)
    groups = dict.fromkeys(("bowl", "cup", "jug", "vase"), ("broader vessel", "facet object"))
    groups |= dict.fromkeys(("axe", "saw"), ("facet object",)) | {"red": ("facet colour",)}
    overall, own = thresholds_of(ids, told.astype(np.float32), is_true, groups, floor)
    assert 0.05 < own["vase"] < 0.25
    assert own["jug"] == pytest.approx(own["vase"], abs=0.05)
    assert own["vase"] < own["saw"] < own["axe"]
    assert own["red"] > 0.4
    assert own.keys() == {*ids, "vase", "saw"}
    alone = thresholds_of(ids, told.astype(np.float32), is_true, None, floor)[1]
    assert alone.keys() == {*ids}
    assert abs(alone["jug"] - overall) < abs(alone["bowl"] - overall)


def test_groups_go_from_the_broader_concept_to_the_facet() -> None:
    bowl = Concept("bowl", "bowl", broader=("vessel",), facet="object")
    groups = wider_groups(Taxonomy((bowl, Concept("vessel", "vessel", facet="object"))))
    assert groups == {"bowl": ("broader vessel", "facet object"), "vessel": ("facet object",)}


def test_the_precision_that_a_tier_asks_for_changes_no_row_of_the_lake() -> None:
    assert TagSettings(precision_floor=0.9).model_dump() == TagSettings(precision_floor=None).model_dump()
    with pytest.raises(ValidationError):
        TagSettings(precision_floor=1.5)


@pytest.mark.slow
def test_vistag_calibrate_makes_a_tier_believable_on_ones_own_pictures(tmp_path: Path) -> None:
    for label, name in {
        "cat": "chelsea.png",
        "espresso": "coffee.png",
        "motorcycle": "motorcycle_left.png",
    }.items():
        picture = Image.open(DATA / name).convert("RGB")
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(12):  # the same thing from nearer and nearer
            inset = number * min(picture.size) // 60
            box = (inset, inset, picture.width - inset, picture.height - inset)
            picture.crop(box).save(tmp_path / "own" / label / f"{number}.png")
    (tmp_path / "words.csv").write_text(VOCABULARY)
    home = Home(tmp_path / "home")
    write_settings(home, Settings(tier="offline", taxonomy=str(tmp_path / "words.csv")))
    done = CliRunner().invoke(app, ["calibrate", str(tmp_path / "own"), "--home", str(home.root)])
    assert done.exit_code == 0, done.output
    assert "36 pictures of 3 classes" in done.output
    assert "F1 of the tags" in done.output
    assert "of which 0.5 are right" in done.output
    kept = read_thresholds(home.root / "thresholds.csv")
    assert kept.keys() == {"cat", "espresso", "motorcycle", "dog", "cup"}
    assert kept["dog"] == kept["cup"]
    [remark] = calibration_remarks(open_workspace(home))
    assert "36 pictures of 3 classes" in remark
    fitted = read_home_calibration(home, open_workspace(home).encoder)
    assert fitted
    assert fitted.error_after < fitted.error_before
    assert fitted.error_after <= 0.05


def test_thresholds_of_a_home_with_an_adapter_are_for_its_scores(tmp_path: Path) -> None:
    """What it knows of no class the encoder tells; the line stays that of the encoder."""
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))
    encoder, taxonomy = open_workspace(home).encoder, starter_taxonomy()
    ids = sorted(taxonomy.by_id)[:3]
    random = np.random.default_rng(6)
    pictures = []
    for number in range(24):
        path = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(path)
        pictures.append(Labelled(path, frozenset({ids[number % 3]})))
    vectors = encoder.embed_texts(ids)
    linear = Linear(np.full_like(vectors[:2], 0.5), np.array([3.0, -3.0], np.float32))
    adapter = HomeAdapter(encoder.fingerprint, ids[:2], linear, {}, 24, 24, 0, [], [], slope=2.0, shift=1.0)
    plain = tried(encoder, (ids, vectors), pictures, taxonomy)
    seen = tried(encoder, (ids, vectors), pictures, taxonomy, adapter)
    assert plain.adapted is None
    assert seen.adapted is not None
    np.testing.assert_array_equal(seen.logits, plain.logits)
    np.testing.assert_allclose(seen.adapted[:, 2], encoder.score_head.probabilities(plain.logits)[:, 2])
    assert (seen.adapted[:, 0] > seen.adapted[:, 1]).all()
    rising = replace(seen, logits=np.where(seen.is_true, 4, -4) + seen.logits / 100)
    line, thresholds = calibrate(encoder, None, rising, "here")
    assert thresholds.own == fit_thresholds(ids, seen.adapted, seen.is_true).own
    assert line.slope > 0
