"""The procedural world: what it draws is what the ground truth says, and no split repeats another's scenes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from demo.corpus import CorpusRecipe, drawn_images, make_corpus
from demo.training.pool import PoolRecipe, build_pool
from demo.training.train_encoder import Recipe
from demo.world.finishes import CONDITIONS, TECHNIQUES
from demo.world.hard.world import HARD, hard_taxonomy
from demo.world.materials import MATERIALS
from demo.world.render import ALL_SILHOUETTES, PROP_PAINTERS, build_surface, render
from demo.world.scene import (
    DAMAGE,
    OBJECTS,
    PROPS,
    SETTINGS,
    SUITS,
    SURFACES,
    WORKMANSHIP,
    ObjectSpec,
    SceneSampler,
    Split,
    drawable_concepts,
    tag_matrix,
)
from demo.world.settings import SETTING_PAINTERS
from demo.world.silhouettes import SILHOUETTES
from taxonomy import starter_taxonomy

IMAGES = 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, images=IMAGES, folders=3, workers=1)
    return folder


def test_every_listed_concept_can_be_drawn_and_stands_in_the_starter_vocabulary() -> None:
    assert set(OBJECTS) == set(SILHOUETTES)
    assert set(SURFACES) == set(MATERIALS)
    assert set(WORKMANSHIP) == set(TECHNIQUES)
    assert set(DAMAGE) == set(CONDITIONS)
    assert set(WORKMANSHIP) | set(DAMAGE) == set(SUITS)
    assert set(SETTINGS) == set(SETTING_PAINTERS)
    assert set(PROPS) == set(PROP_PAINTERS)
    assert set(drawable_concepts()) <= set(starter_taxonomy().by_id)


def test_the_world_is_as_large_as_promised() -> None:
    assert len(OBJECTS) >= 60
    assert len(SURFACES) >= 20
    assert len(WORKMANSHIP) + len(DAMAGE) >= 15
    assert len(drawable_concepts()) >= 100


def test_seven_tags_of_ten_are_rare_in_the_default_corpus() -> None:
    scenes = [CorpusRecipe(600, 6, 0).scene(n) for n in range(600)]
    support = np.sort(tag_matrix(scenes, drawable_concepts()).sum(axis=0))[::-1]
    tail = support[int(np.ceil(0.3 * len(support))) :]
    assert tail.max() <= 0.06 * 600
    assert np.median(tail) <= 10
    assert support[0] >= 200


def test_ten_suggestions_are_enough_for_nearly_every_true_tag() -> None:
    scenes = [CorpusRecipe(600, 6, 0).scene(n) for n in range(600)]
    tags = tag_matrix(scenes, drawable_concepts()).sum(axis=1)
    assert np.minimum(tags, 10).sum() / tags.sum() >= 0.98


@pytest.mark.slow
def test_training_calibration_validation_and_corpus_share_no_scene() -> None:
    corpus = {CorpusRecipe(600, 6, 0).scene(n).digest for n in range(600)}
    training = Recipe()
    recipe = PoolRecipe(Split.TRAIN, training.train_scenes, training.flatness, training.closeup_every)
    train = {recipe.scene(n).digest for n in range(0, recipe.count, 8)}
    calibrate = {SceneSampler(Split.CALIBRATE).scene(n).digest for n in range(4000)}
    validate = {SceneSampler(Split.VALIDATE).scene(n).digest for n in range(600)}
    assert len(corpus | train | calibrate | validate) == len(corpus) + len(train) + len(calibrate) + len(
        validate
    )


def test_the_same_seed_draws_the_same_pixels() -> None:
    scene = SceneSampler(Split.CORPUS).scene(3)
    assert np.array_equal(render(scene, 200).pixels, render(scene, 200).pixels)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_scene_shows_the_same_things_at_every_size(number: int) -> None:
    scene = SceneSampler(Split.CORPUS).scene(number)
    small, large = render(scene, 256), render(scene, 512)
    assert [t.concepts for t in small.instances] == [t.concepts for t in large.instances]
    for a, b in zip(small.instances, large.instances, strict=True):
        assert np.allclose(np.array(a.box_xywh) * 2, b.box_xywh, atol=8)


@pytest.mark.parametrize("finish", [*WORKMANSHIP, *DAMAGE])
def test_a_finish_changes_how_the_object_looks(finish: str) -> None:
    material = sorted(SUITS[finish])[0]
    plain = build_surface(ObjectSpec("vase", material, None, None, 0.5, 0.9, 0.5, 0.0, False, 5), 200)
    made = build_surface(ObjectSpec("vase", material, finish, None, 0.5, 0.9, 0.5, 0.0, False, 5), 200)
    changed = (
        np.abs(plain.colour - made.colour).max(axis=2)
        + 20 * np.abs(plain.height - made.height)
        + np.abs(plain.grooves - made.grooves)
        + np.abs(plain.coverage - made.coverage)
    )
    assert (changed[plain.coverage > 0.5] > 0.1).mean() > 0.005


def test_folders_hold_jpegs_with_exif_that_stand_upright(corpus: Path) -> None:
    files = sorted((corpus / "library").rglob("*.jpg"))
    assert len(files) == IMAGES
    assert len({f.parent for f in files}) == 3
    for number, file in enumerate(files):
        image = Image.open(file)
        assert image.getexif().get_ifd(0x8769)[0x9003].startswith(file.parent.name[-4:])
        scene = CorpusRecipe(IMAGES, 3, 0).scene(number)
        upright = np.asarray(ImageOps.exif_transpose(image), np.float32)
        drawn = render(scene, 1024).pixels.astype(np.float32)
        assert upright.shape == drawn.shape
        assert np.abs(upright - drawn).mean() < 6


def test_ground_truth_names_exactly_what_the_scenes_hold(corpus: Path) -> None:
    truth = json.loads((corpus / "ground_truth.json").read_text())
    concept = {c["id"]: c["concept_id"] for c in truth["categories"]}
    for number, image in enumerate(truth["images"]):
        scene = CorpusRecipe(IMAGES, 3, 0).scene(number)
        entries = truth["annotations"] + truth["image_tags"]
        named = {concept[e["category_id"]] for e in entries if e["image_id"] == image["id"]}
        assert named == scene.tags
        assert {concept[c] for c in image["neg_category_ids"]} == set(concept.values()) - scene.tags
        texts = [t["text"] for t in truth["texts"] if t["image_id"] == image["id"]]
        assert texts == [p.text for p in scene.props if p.text]


def test_masks_fill_their_boxes_and_areas_count_their_pixels(corpus: Path) -> None:
    truth = json.loads((corpus / "ground_truth.json").read_text())
    assert truth["annotations"]
    for annotation in truth["annotations"]:
        mask = coco_mask.decode(annotation["segmentation"])
        assert mask.sum() == annotation["area"]
        rows, columns = np.nonzero(mask)
        x, y, w, h = annotation["bbox"]
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x, y, x + w, y + h)


def test_a_second_call_leaves_the_same_corpus_alone(corpus: Path) -> None:
    file = next((corpus / "library").rglob("*.jpg"))
    before = file.stat().st_mtime_ns
    make_corpus(corpus, images=IMAGES, folders=3, workers=1)
    assert file.stat().st_mtime_ns == before


def test_two_corpora_are_not_mixed(corpus: Path) -> None:
    truth = (corpus / "ground_truth.json").read_bytes()
    with pytest.raises(FileExistsError, match="another number of images: name another home"):
        make_corpus(corpus, images=IMAGES + 3, folders=3, workers=1)
    assert (corpus / "ground_truth.json").read_bytes() == truth


def test_a_corpus_that_is_there_tells_its_size_and_one_that_is_not_has_none(
    corpus: Path, tmp_path: Path
) -> None:
    assert drawn_images(corpus) == IMAGES
    assert drawn_images(tmp_path) is None


def test_a_pool_holds_the_scenes_of_its_recipe(tmp_path: Path) -> None:
    recipe = PoolRecipe(Split.VALIDATE, 6, 0.5, closeup_every=2)
    pool = build_pool(tmp_path, recipe, workers=1)
    concepts = drawable_concepts()
    for number in range(6):
        scene = recipe.scene(number)
        assert {concepts[i] for i in np.flatnonzero(pool.tags[number])} == scene.tags
        assert pool.owners[number].max() <= len(scene.objects) + len(scene.props)
        things = {concepts[i] for i in np.flatnonzero(pool.things[number].any(axis=0))}
        assert things == scene.tags - {scene.setting, scene.lighting}
    assert all(len(recipe.scene(n).objects) == 1 for n in (0, 2, 4))


HARD_SCENES = 2000


@pytest.fixture(scope="module")
def hard_support() -> np.ndarray:
    scenes = [CorpusRecipe(HARD_SCENES, 6, 0, Split.HARD).scene(n) for n in range(HARD_SCENES)]
    return tag_matrix(scenes, HARD.drawable).sum(axis=0)


def test_the_hard_world_is_drawn_of_concepts_that_no_model_was_trained_on() -> None:
    assert len(HARD.drawable) == 300
    assert not {*HARD.drawable} & {*drawable_concepts()}
    vocabulary, trained = hard_taxonomy(), starter_taxonomy()
    assert {*HARD.drawable} <= {*vocabulary.by_id}
    known = {trained.pref_labels[concept] for concept in drawable_concepts()}
    assert not {vocabulary.pref_labels[concept] for concept in HARD.drawable} & known
    looks = {form.rasterise(96)[0].tobytes() for name, form in ALL_SILHOUETTES.items() if name not in OBJECTS}
    assert len(looks) == len(HARD.objects)


def test_seven_concepts_of_ten_are_in_fewer_than_ten_hard_pictures(hard_support: np.ndarray) -> None:
    assert (hard_support < 10).mean() >= 0.7
    assert hard_support.max() > 600


def test_every_concept_of_the_hard_world_can_be_drawn_and_changes_the_picture() -> None:
    plain = ObjectSpec("holed-bowl", "sandstone", None, None, 0.5, 0.9, 0.5, 0.0, False, 5)
    bare = build_surface(plain, 160).colour
    for finish in (*HARD.techniques, *HARD.conditions):
        made = build_surface(replace(plain, technique=finish), 160).colour
        assert (np.abs(bare - made).max(axis=2) > 0.05).mean() > 0.002, finish
    scene = CorpusRecipe(6, 6, 0, Split.HARD).scene(0)
    for setting in HARD.settings:
        assert render(replace(scene, setting=setting), 96).pixels.std() > 5
    for lighting in HARD.lightings:
        lit = render(replace(scene, lighting=lighting), 96).pixels
        assert np.abs(lit.astype(int) - render(replace(scene, lighting=None), 96).pixels).mean() > 2


def test_the_standard_scenes_are_what_they_were() -> None:
    """Their figures are in the docs, and their rows in people's homes."""
    assert CorpusRecipe(600, 6, 0).scene(0).digest.startswith("f7ffd1b4f64385408bc7e23a1f0cd21c")


def test_the_truth_of_the_hard_corpus_is_of_its_own_vocabulary(tmp_path: Path) -> None:
    make_corpus(tmp_path, images=6, folders=2, split=Split.HARD, longer_side_px=128, workers=1)
    truth = json.loads((tmp_path / "ground_truth.json").read_text())
    assert truth["info"]["split"] == "HARD"
    assert [c["concept_id"] for c in truth["categories"]] == list(HARD.drawable)
    assert truth["annotations"]
    assert all("before a" in c["caption"] for c in truth["captions"])
