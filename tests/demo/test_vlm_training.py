"""The training of the demo VLM: sheets are what the chat template writes, and a resumed run is the same run."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, SiglipConfig, SiglipModel

from demo.training.chat import BEGIN, END, IMAGE, chat_processor, train_chat_tokenizer
from demo.training.export_vlm import ask, save_checkpoint
from demo.training.language import Speaker
from demo.training.lessons import IGNORED, Scribe, Teacher, build_crops
from demo.training.train_vlm import Recipe, Trainer, answer_loss, named_objects, patch_features
from demo.world.scene import OBJECTS, SceneSampler, Split
from resources.models.vlms import prompts
from resources.models.vlms.description import parse_description
from taxonomy import starter_taxonomy

TAXONOMY = starter_taxonomy()
SPEAKER = Speaker(TAXONOMY)
PATCHES = 100
QUESTIONS = [("Name it.", 'A "bowl", r12.'), ("List the keywords.\nRegions: r1 key", "bowl, oak")]
TINY = Recipe(
    train_scenes=12,
    validate_scenes=6,
    crop_scenes=4,
    validate_crop_scenes=2,
    told_images=4,
    described_images=2,
    cropped_images=2,
    steps=4,
    frozen_steps=2,
    cooldown_steps=1,
    described_from=1,
    warmup_steps=1,
    vocabulary=600,
    text_width=64,
    text_hidden=128,
    text_layers=1,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SigLIP with random weights, of the image and patch size of the bundled one."""
    folder = tmp_path_factory.mktemp("encoder")
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 160,
        "patch_size": 16,
    }
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scribe(tmp_path_factory: pytest.TempPathFactory) -> Scribe:
    texts = [text for exchange in QUESTIONS for text in exchange]
    return Scribe(train_chat_tokenizer(texts, tmp_path_factory.mktemp("tokenizer"), 400), PATCHES)


def _weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_the_tokenizer_spells_everything_and_every_digit(scribe: Scribe) -> None:
    for text in ("GALLERY 42, INV. 1834.7", 'repoussé {"text":"A b.","regions":["r1"]}'):
        ids = scribe.tokenizer.encode(text, add_special_tokens=False)
        assert scribe.tokenizer.decode(ids) == text
    assert scribe.tokenizer.tokenize("1834") == ["1", "8", "3", "4"]


def test_a_sheet_holds_the_tokens_of_the_chat_template(scribe: Scribe) -> None:
    processor = chat_processor(scribe.tokenizer, 160, 16)
    prompt, answer = QUESTIONS[1]
    chat = [
        {"role": "user", "content": [{"type": "text", "text": prompt}, {"type": "image"}]},
        {"role": "assistant", "content": answer},
    ]
    text = processor.apply_chat_template(chat)
    assert text.startswith(BEGIN)
    assert text.endswith(END)
    image = Image.new("RGB", (40, 30))
    ids = processor(images=[image], text=text, add_special_tokens=False)["input_ids"][0]
    sheet = scribe.sheet([[QUESTIONS[1]]])
    assert sheet.tokens[0].tolist() == ids[:-1]
    assert (
        sheet.targets[0][sheet.targets[0] != IGNORED].tolist()
        == ids[-int((sheet.targets != IGNORED).sum()) :]
    )
    asked = processor.apply_chat_template(chat[:1], add_generation_prompt=True)
    ids = processor(images=[image], text=asked, add_special_tokens=False)["input_ids"][0]
    assert scribe.asked(prompt) == ids
    assert ids.count(scribe.tokenizer.convert_tokens_to_ids(IMAGE)) == PATCHES


def test_exchanges_on_one_sheet_do_not_see_each_other(scribe: Scribe, encoder: Path, tmp_path: Path) -> None:
    """The loss of two exchanges about one picture is the sum of their losses alone."""
    trainer = Trainer(TINY, tmp_path, encoder, workers=1)
    batch = torch.rand(1, 3, 160, 160)
    together = trainer.scribe.sheet([QUESTIONS])
    alone = [trainer.scribe.sheet([[question]]) for question in QUESTIONS]
    with torch.inference_mode():
        features = patch_features(trainer.model, batch)
        losses = [
            float(answer_loss(trainer.model, features, sheet, trainer.scribe.image))
            for sheet in (together, *alone)
        ]
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-4)


def test_a_teacher_asks_in_the_words_of_the_assets_and_answers_in_form() -> None:
    teacher, rng = Teacher(SPEAKER), np.random.default_rng(0)
    cited, uncited = 0, 0
    for index in range(60):
        scene = SceneSampler(Split.TRAIN, 0.8).scene(index)
        (caption, _), (tags, listed) = teacher.told(scene, rng)
        assert caption.split("\n")[0] == prompts.CAPTION
        assert tags == prompts.TAGS
        assert TAXONOMY.labels.concepts_in(listed) == scene.tags
        ((prompt, answer),) = teacher.described(scene, rng)
        assert prompt.split("\n")[0] == prompts.DESCRIPTION
        assert parse_description(answer) is not None
        cited += '"regions":["r' in answer
        uncited += '"aspect":"subject"' in answer and '"regions":["r' not in answer
    assert cited > uncited > 0


def test_crops_show_one_thing_each_and_are_cut_once(tmp_path: Path) -> None:
    crops = build_crops(tmp_path, Split.VALIDATE, 3, 0.0, SPEAKER)
    assert len(crops.images) == len(crops.phrases) >= 3
    objects = {SPEAKER.region(i) for n in range(3) for i in SceneSampler(Split.VALIDATE).scene(n).objects}
    assert objects <= set(crops.phrases)
    written = (tmp_path / "images.npy").stat().st_mtime_ns
    build_crops(tmp_path, Split.VALIDATE, 3, 0.0, SPEAKER)
    assert (tmp_path / "images.npy").stat().st_mtime_ns == written


def test_named_objects_by_hand() -> None:
    sampler = SceneSampler(Split.VALIDATE)
    scene = next(
        s for s in map(sampler.scene, range(50)) if len({i.concept for i in s.objects} & set(OBJECTS)) == 2
    )
    first, second = (TAXONOMY.by_id[c].pref_label for c in sorted({i.concept for i in scene.objects}))
    absent = next(c for c in ("anchor", "lyre", "globe") if c not in scene.tags)
    figures = named_objects([f"a {first} and a {absent} with gilding"], [scene], TAXONOMY)
    assert figures == {"object_recall": 0.5, "absent_share": 0.5}
    assert named_objects([f"{second}, {first}"], [scene], TAXONOMY) == {"object_recall": 1, "absent_share": 0}


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, encoder: Path) -> None:
    whole = Trainer(TINY, tmp_path, encoder, workers=1)
    tower = [p.detach().clone() for p in whole.model.model.vision_tower.parameters()]
    for _ in range(TINY.frozen_steps):
        whole.advance()
    for before, after in zip(tower, whole.model.model.vision_tower.parameters(), strict=True):
        assert torch.equal(before, after)
    while whole.step < TINY.steps:
        whole.advance()
    layer = whole.model.model.vision_tower.encoder.layers[0].mlp.fc1.weight
    assert not any(before.shape == layer.shape and torch.equal(before, layer) for before in tower)
    first = Trainer(TINY, tmp_path, encoder, workers=1)
    for _ in range(3):
        first.advance()
    first.save()
    second = Trainer(TINY, tmp_path, encoder, workers=1)
    second.resume()
    while second.step < TINY.steps:
        second.advance()
    torch.testing.assert_close(_weights(second), _weights(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_an_exported_checkpoint_answers_as_the_trained_model_does(tmp_path: Path, encoder: Path) -> None:
    trainer = Trainer(TINY, tmp_path, encoder, workers=1)
    while trainer.step < TINY.steps:
        trainer.advance()
    trainer.save()
    assert save_checkpoint(trainer.folder, encoder, tmp_path / "out")[0] == TINY
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    square = np.asarray(trainer.validate.images[:2])[:, 8:168, 8:168]
    pictures = [Image.fromarray(image) for image in square]
    chat = [
        {
            "role": "user",
            "content": [{"type": "image", "image": pictures[0]}, {"type": "text", "text": "Why?"}],
        }
    ]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert inputs["input_ids"][0].tolist() == trainer.scribe.asked("Why?")
    trainer.model.eval()
    with torch.inference_mode():
        ours, theirs = trainer.model(**inputs).logits, model(**inputs).logits
        seen = patch_features(trainer.model, inputs["pixel_values"])
        taken = trainer.model.model.multi_modal_projector(seen)
        given = model.model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output[0]
    torch.testing.assert_close(theirs, ours, rtol=0.02, atol=0.02)
    torch.testing.assert_close(given, taken[0], rtol=0.02, atol=0.02)
    answers = ask(tmp_path / "out", pictures, [prompts.CAPTION, prompts.TAGS], most=4)
    assert len(answers) == 2
    assert all(isinstance(answer, str) for answer in answers)


def test_export_refuses_an_unfinished_run(tmp_path: Path, encoder: Path) -> None:
    torch.save({"step": 1, "model": {}, "recipe": asdict(TINY)}, tmp_path / "state.pt")
    with pytest.raises(SystemExit, match="step 1 of 4"):
        save_checkpoint(tmp_path, encoder, tmp_path / "out")
